/** What comes of requests and transfers: pieces announced, pieces here, pieces that will not come. */

import { addCopy, leaseOf, mayAsk, refresh, removeCopy, removeHolder, removeRequest, setAssigned, setSuspect } from './derived.ts'
import { fetchInstead, noteLanded, noteRegistryPiece, noteSpread, report, stopIdleFetches } from './leases.ts'
import type { BlobEvent, SwarmCommand } from './messages.ts'
import { heard, neighbourDown } from './neighbours.ts'
import { type BlobState, type SwarmState, smooth } from './state.ts'

export function available(state: SwarmState, blob: BlobState, event: BlobEvent & { type: 'available' }, now: number): SwarmCommand[] {
  const neighbour = heard(state, event.peer, now)
  if (neighbour === undefined) return []
  neighbour.load = event.load
  if (event.gone) {
    removeHolder(state, blob, event.peer)
    fetchInstead(state, blob)
  }
  for (const piece of event.pieces) {
    if (piece < 0 || piece >= blob.layout.pieces || !addCopy(state, blob, event.peer, piece)) continue
    noteSpread(blob, piece)
    // Somebody else has fetched what this host was to fetch: it comes from there, unless that host was given up for us.
    const spared = blob.assigned.has(piece) && blob.vouched.has(piece) && leaseOf(blob, piece)?.instead !== event.peer
    if (
      spared &&
      mayAsk(blob, neighbour, piece) &&
      !blob.fetches.some((fetch) => piece >= fetch.next && piece < fetch.run.first + fetch.run.count)
    ) {
      setAssigned(state, blob, piece, false)
    }
  }
  return []
}

export function landed(state: SwarmState, blob: BlobState, event: BlobEvent & { type: 'landed' }, now: number): SwarmCommand[] {
  const commands: SwarmCommand[] = []
  const { piece, from } = event
  const fromRegistry = from === 'registry'
  const neighbour = heard(state, from, now)
  for (const request of [...(blob.requests.get(piece) ?? [])]) {
    removeRequest(state, blob, request.peer, piece)
    if (request.peer !== from) commands.push({ type: 'cancel', peer: request.peer, blob: blob.digest, piece })
    else if (neighbour !== undefined) {
      const took = now - request.since
      neighbour.pace = smooth(neighbour.pace, took)
      state.pace = smooth(state.pace, took)
    }
  }
  if (fromRegistry) noteRegistryPiece(state, blob, piece, event.bytes, now)
  setAssigned(state, blob, piece, false)
  blob.arrivedAt = now
  state.arrivedAt = now
  if (!blob.have.add(piece)) return commands
  state.received += event.bytes
  refresh(state, blob, piece)
  noteLanded(blob, piece)
  commands.push(...stopIdleFetches(blob))
  commands.push(...report(state, blob, now))
  if (blob.have.complete) commands.push(...finish(blob, now))
  return commands
}

export function finish(blob: BlobState, now: number): SwarmCommand[] {
  if (blob.completeAt !== undefined) return []
  blob.completeAt = now
  return [{ type: 'complete', blob: blob.digest }]
}

export function requestFailed(state: SwarmState, blob: BlobState, event: BlobEvent & { type: 'failed' }, now: number): SwarmCommand[] {
  removeRequest(state, blob, event.peer, event.piece)
  if (event.reason === 'gone') removeHolder(state, blob, event.peer)
  else if (event.reason === 'lie') {
    if (state.banned.has(event.peer)) return []
    state.banned.add(event.peer)
    return [{ type: 'ban', peer: event.peer }, ...neighbourDown(state, event.peer)]
  } else if (event.reason === 'doubtful') removeCopy(state, blob, event.peer, event.piece)
  else if (event.reason === 'unreachable') {
    removeCopy(state, blob, event.peer, event.piece)
    const neighbour = state.neighbours.get(event.peer)
    if (neighbour !== undefined) setSuspect(state, neighbour, neighbour.suspectSince ?? now)
  }
  fetchInstead(state, blob)
  return []
}
