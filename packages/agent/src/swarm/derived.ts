/**
 * How the facts that are derived from others are kept: what is wanted, what each neighbour has of use, how many have a
 * piece. Every change of what they depend on goes through here.
 */
import type { Lease } from '@layerswarm/core/claims.ts'
import { runOf } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { BlobState, Neighbour, Request, SwarmState } from './state.ts'

/** Whether `piece` may be asked of `neighbour`: always inside the zone, and of other zones what this host imports. */
export function mayAsk(blob: BlobState, neighbour: Neighbour, piece: number): boolean {
  return !neighbour.foreign || blob.importable.has(piece)
}

/** Recomputes whether `piece` may be imported, and what that makes of the neighbours of other zones that have it. */
export function refreshImport(state: SwarmState, blob: BlobState, piece: number): void {
  const may = blob.orphans.has(piece) || (blob.imports.has(piece) && blob.copies[piece] === 0)
  const changed = may ? blob.importable.add(piece) : blob.importable.remove(piece)
  if (!changed || !blob.wanted.has(piece) || state.foreign.size === 0) return
  for (const [peer, pieces] of blob.holders) {
    const neighbour = pieces.has(piece) ? state.neighbours.get(peer) : undefined
    if (neighbour?.foreign === true) neighbour.useful += may ? 1 : -1
  }
}

/** Recomputes whether `piece` is wanted from peers, and what that makes of the neighbours that have it. */
export function refresh(state: SwarmState, blob: BlobState, piece: number): void {
  const want = !blob.have.has(piece) && blob.vouched.has(piece) && !blob.requests.has(piece) && !blob.assigned.has(piece)
  if (want === blob.wanted.has(piece)) return
  if (want) blob.wanted.add(piece)
  else blob.wanted.remove(piece)
  for (const [peer, pieces] of blob.holders) {
    const neighbour = pieces.has(piece) ? state.neighbours.get(peer) : undefined
    if (neighbour !== undefined && mayAsk(blob, neighbour, piece)) neighbour.useful += want ? 1 : -1
  }
}

/** A neighbour has `piece` now. @returns whether that is news. */
export function addCopy(state: SwarmState, blob: BlobState, peer: string, piece: number): boolean {
  let pieces = blob.holders.get(peer)
  if (pieces === undefined) {
    pieces = new PieceSet(blob.layout.pieces)
    blob.holders.set(peer, pieces)
  }
  if (!pieces.add(piece)) return false
  const neighbour = state.neighbours.get(peer)
  if (isCounted(neighbour)) countCopy(state, blob, piece, 1)
  if (neighbour !== undefined && blob.wanted.has(piece) && mayAsk(blob, neighbour, piece)) neighbour.useful++
  return true
}

export function removeCopy(state: SwarmState, blob: BlobState, peer: string, piece: number): void {
  if (blob.holders.get(peer)?.remove(piece) !== true) return
  const neighbour = state.neighbours.get(peer)
  if (isCounted(neighbour)) countCopy(state, blob, piece, -1)
  if (neighbour !== undefined && blob.wanted.has(piece) && mayAsk(blob, neighbour, piece)) neighbour.useful--
}

function isCounted(neighbour: Neighbour | undefined): boolean {
  return neighbour?.foreign !== true && neighbour?.suspectSince === undefined
}

/** What a suspect has counts for nothing until it is heard again. @param since undefined: it is no suspect any more */
export function setSuspect(state: SwarmState, neighbour: Neighbour, since: number | undefined): void {
  const before = isCounted(neighbour)
  neighbour.suspectSince = since
  if (isCounted(neighbour) === before) return
  for (const blob of state.blobs.values()) {
    for (const piece of blob.holders.get(neighbour.id) ?? []) countCopy(state, blob, piece, before ? -1 : 1)
  }
}

/** Counts all of a neighbour anew as of the other kind: of another zone, or of this one. */
export function setForeign(state: SwarmState, neighbour: Neighbour, foreign: boolean): void {
  if (neighbour.foreign === foreign) return
  const held = [...state.blobs.values()].map((blob) => ({ blob, pieces: blob.holders.get(neighbour.id)?.clone() ?? [] }))
  for (const { blob, pieces } of held) for (const piece of pieces) removeCopy(state, blob, neighbour.id, piece)
  neighbour.foreign = foreign
  for (const { blob, pieces } of held) for (const piece of pieces) addCopy(state, blob, neighbour.id, piece)
}

/** Forgets everything that `peer` has of `blob`. */
export function removeHolder(state: SwarmState, blob: BlobState, peer: string): void {
  for (const piece of blob.holders.get(peer)?.clone() ?? []) removeCopy(state, blob, peer, piece)
  blob.holders.delete(peer)
}

const RARE_COPIES = 2

/** Whether more neighbours have `piece` than make it rare. */
export function isCommon(blob: BlobState, piece: number): boolean {
  return (blob.copies[piece] ?? 0) > RARE_COPIES
}

function countCopy(state: SwarmState, blob: BlobState, piece: number, by: 1 | -1): void {
  const copies = (blob.copies[piece] ?? 0) + by
  blob.copies[piece] = copies
  if (copies <= 1) refreshImport(state, blob, piece)
  if (copies > 0 && copies <= RARE_COPIES) blob.rare.add(piece)
  else blob.rare.remove(piece)
}

export function addRequest(state: SwarmState, blob: BlobState, neighbour: Neighbour, piece: number, now: number): Request {
  const request = { peer: neighbour.id, blob: blob.digest, piece, since: now }
  const open = blob.requests.get(piece)
  if (open === undefined) blob.requests.set(piece, [request])
  else open.push(request)
  neighbour.requests.add(request)
  state.requests++
  refresh(state, blob, piece)
  return request
}

/** @returns the request that was open, if any. */
export function removeRequest(state: SwarmState, blob: BlobState, peer: string, piece: number): Request | undefined {
  const open = blob.requests.get(piece)
  const request = open?.find((candidate) => candidate.peer === peer)
  if (open === undefined || request === undefined) return undefined
  if (open.length === 1) blob.requests.delete(piece)
  else open.splice(open.indexOf(request), 1)
  state.neighbours.get(peer)?.requests.delete(request)
  state.requests--
  refresh(state, blob, piece)
  return request
}

export function setAssigned(state: SwarmState, blob: BlobState, piece: number, assigned: boolean): void {
  const changed = assigned ? blob.assigned.add(piece) : blob.assigned.remove(piece)
  if (changed) refresh(state, blob, piece)
}

/** `piece` is missing, not on its way, and nobody who has it answers. */
export function isUnanswered(state: SwarmState, blob: BlobState, piece: number): boolean {
  if (blob.have.has(piece) || blob.assigned.has(piece) || blob.requests.has(piece)) return false
  for (const [peer, pieces] of blob.holders) {
    if (pieces.has(piece) && state.neighbours.get(peer)?.suspectSince === undefined) return false
  }
  return true
}

/** The lease in hand that covers `piece`. */
export function leaseOf(blob: BlobState, piece: number): Lease | undefined {
  return blob.leases.get(runOf(piece))
}
