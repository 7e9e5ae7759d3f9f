/** Pieces that are on their way: their bytes are signs of life of who sends them. */
import type { BlobEvent } from './messages.ts'
import { heard } from './neighbours.ts'
import type { BlobState, SwarmState } from './state.ts'

/**
 * Pieces of the registry that come more often than this report themselves, ms. Only what is slower must show that it
 * moves, before its lease is taken for a dead one.
 */
const SLOW_PIECE_MS = 1000

export function arriving(state: SwarmState, blob: BlobState, event: BlobEvent & { type: 'arriving' }, now: number): void {
  blob.arrivedAt = now
  state.arrivedAt = now
  for (const peer of event.peers) heard(state, peer, now)
  if (now - blob.registryArrivedAt < SLOW_PIECE_MS) return
  for (const fetch of blob.fetches) {
    const bytes = event.fetches.get(fetch.id) ?? 0
    if (bytes <= fetch.counted) continue
    blob.report.bytes += bytes - fetch.counted
    fetch.counted = bytes
  }
}
