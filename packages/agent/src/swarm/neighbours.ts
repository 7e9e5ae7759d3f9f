/** Hosts that come, go, fall silent and are heard again. */

import type { Digest } from '@layerswarm/core/digest.ts'
import { removeHolder, removeRequest, setSuspect } from './derived.ts'
import { fetchInstead } from './leases.ts'
import type { SwarmCommand } from './messages.ts'
import { isStalled } from './policy.ts'
import type { BlobState, Neighbour, SwarmState } from './state.ts'
import { neighboursOfUse } from './zones.ts'

/** With fewer live neighbours than this the tracker is asked for more. */
const ENOUGH_NEIGHBOURS = 12
const ASK_MS = 300
/** Asking again and again in a small fleet finds nobody new: the interval grows to this, ms. */
const ASK_MOST_MS = 5000
/** A host that holds everything has no news to send: after this long it is tried again, and then after twice as long, ms. */
const PROBATION_MS = 2000

export function neighbourUp(state: SwarmState, peer: string, now: number, watches?: Digest): SwarmCommand[] {
  if (state.banned.has(peer)) return []
  if (watches !== undefined) state.blobs.get(watches)?.watchers.add(peer)
  if (!state.neighbours.has(peer)) {
    state.neighbours.set(peer, {
      id: peer,
      metAt: now,
      foreign: state.foreign.has(peer),
      load: 0,
      useful: 0,
      requests: new Set(),
      suspectSince: undefined,
      stalls: 0,
      heardAt: now,
      pace: 0
    })
  }
  return [...state.blobs.keys()].map((blob) => ({ type: 'observe', peer, blob }))
}

export function neighbourDown(state: SwarmState, peer: string): SwarmCommand[] {
  const neighbour = state.neighbours.get(peer)
  if (neighbour === undefined) return []
  for (const request of [...neighbour.requests]) {
    const blob = state.blobs.get(request.blob)
    if (blob !== undefined) removeRequest(state, blob, peer, request.piece)
  }
  for (const blob of state.blobs.values()) removeHolder(state, blob, peer)
  state.neighbours.delete(peer)
  for (const blob of state.blobs.values()) fetchInstead(state, blob)
  return []
}

/** A sign of life. @returns the neighbour, if it is one */
export function heard(state: SwarmState, peer: string, now: number): Neighbour | undefined {
  const neighbour = state.neighbours.get(peer)
  if (neighbour !== undefined) {
    neighbour.heardAt = now
    setSuspect(state, neighbour, undefined)
    neighbour.stalls = 0
  }
  return neighbour
}

/** Takes back what was asked of hosts that fell silent, and tries those again whose probation is over. */
export function stalls(state: SwarmState, now: number): SwarmCommand[] {
  const commands: SwarmCommand[] = []
  for (const neighbour of state.neighbours.values()) {
    if (neighbour.suspectSince !== undefined && now - neighbour.suspectSince >= PROBATION_MS * 2 ** (neighbour.stalls - 1)) {
      setSuspect(state, neighbour, undefined)
      neighbour.heardAt = now
    }
    if (!isStalled(state, neighbour, now)) continue
    setSuspect(state, neighbour, now)
    neighbour.stalls++
    for (const request of [...neighbour.requests]) {
      const blob = state.blobs.get(request.blob)
      if (blob !== undefined) removeRequest(state, blob, neighbour.id, request.piece)
      commands.push({ type: 'cancel', peer: neighbour.id, blob: request.blob, piece: request.piece })
    }
    for (const blob of state.blobs.values()) fetchInstead(state, blob)
  }
  return commands
}

/** Asks the tracker for more: once for all blobs of an image, which the same hosts fetch, naming one after another. */
export function askForNeighbours(state: SwarmState, now: number): SwarmCommand[] {
  const live = neighboursOfUse(state)
  if (!state.trackerUp || live >= ENOUGH_NEIGHBOURS) return []
  const pulls = new Map<string, { next: BlobState; askedAt: number }>()
  for (const blob of state.blobs.values()) {
    if (!blob.planned || blob.completeAt !== undefined) continue
    const pull = pulls.get(blob.pull) ?? { next: blob, askedAt: blob.askedPeersAt }
    pulls.set(blob.pull, {
      next: blob.askedPeersAt < pull.next.askedPeersAt ? blob : pull.next,
      askedAt: Math.max(pull.askedAt, blob.askedPeersAt)
    })
  }
  return [...pulls.values()].flatMap(({ next, askedAt }): SwarmCommand[] => {
    if (now - askedAt < Math.min(ASK_MOST_MS, Math.max(ASK_MS, (now - next.openedAt) / 2))) return []
    next.askedPeersAt = now
    return [{ type: 'tell', note: { t: 'peers', blob: next.digest, live } }]
  })
}
