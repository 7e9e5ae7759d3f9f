/**
 * What the scheduler knows, and how its derived facts are kept. One state covers all blobs that this host fetches,
 * since they share its neighbours and its link.
 *
 * Who may touch what: scheduler.ts and the files that it hands events to (arrivals.ts, neighbours.ts, leases.ts,
 * adrift.ts) change this state; policy.ts only reads it; the driver never touches it. Nothing here waits, reads a clock or draws true randomness.
 */
import type { Lease } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { type PieceLayout, type PieceRun, runOf } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Faring } from '../ports.ts'
import { createFetchSlots, type FetchSlots } from './fetch-slots.ts'
import { createParallel, type Parallel } from './parallel.ts'

/** One piece asked of one neighbour. */
export interface Request {
  readonly peer: string
  readonly blob: Digest
  readonly piece: number
  readonly since: number
}

export interface Neighbour {
  readonly id: string
  /** Of another zone: asked only for what this host imports. */
  foreign: boolean
  /** Uploads it has active and queued, as it last said. */
  load: number
  /** Pieces this host wants and may ask of it that it has, over all blobs. */
  useful: number
  readonly requests: Set<Request>
  /** Since when it has kept silent with requests open: nothing is asked of it until it sends something or its probation ends. */
  suspectSince: number | undefined
  /** Stalls in a row. */
  stalls: number
  heardAt: number
  /** Smoothed time from request to piece, ms; 0 before the first. */
  pace: number
}

/** One running transfer from the registry. */
export interface RegistryFetch {
  readonly id: number
  readonly run: PieceRun
  /** The next piece it will bring. */
  next: number
  readonly since: number
  /** Bytes of that piece which the tracker was told of before it is whole. */
  counted: number
}

export interface BlobState {
  readonly digest: Digest
  /** Whose part of a limit it takes: all blobs of an image have one in common. */
  readonly pull: string
  readonly layout: PieceLayout
  /** Position among the blobs of its image; blobs asked for earlier come first. */
  readonly order: number
  readonly openedAt: number
  readonly have: PieceSet
  /** Pieces that can be verified when a peer sends them: a map or a claim is known. */
  readonly vouched: PieceSet
  /** Pieces this host is to fetch from the registry and has not got yet. */
  readonly assigned: PieceSet
  /** Pieces to ask a peer for: missing, verifiable, not requested and not assigned. Derived; see {@link refresh}. */
  readonly wanted: PieceSet
  readonly requests: Map<number, Request[]>
  /** What each neighbour has. */
  readonly holders: Map<string, PieceSet>
  /** Number of neighbours of the own zone that have each piece, suspects left out. */
  readonly copies: Uint16Array
  /** Pieces that one or two of those have. */
  readonly rare: PieceSet
  /** Pieces that this host imports while no neighbour of its zone has them, and those it imports in any case. */
  readonly imports: PieceSet
  readonly orphans: PieceSet
  /** Pieces that may be asked of hosts of other zones now. Derived from those and from `copies`. */
  readonly importable: PieceSet
  /** This host has a place among those that import for its zone. */
  gateway: boolean
  /** Leases in hand by run. */
  readonly leases: Map<number, Lease>
  readonly fetches: RegistryFetch[]
  map: 'none' | 'word' | 'proven'
  /** Pieces that waiting readers need next. */
  readonly readers: Map<number, number>
  /** The tracker answered the plan for this blob. */
  planned: boolean
  /** When the tracker was found silent for this blob; owner order counts from here. */
  adriftSince: number | undefined
  arrivedAt: number
  idleSince: number | undefined
  askedPeersAt: number
  askedOrphansAt: number
  /** The registry serves whole streams only. */
  noRange: boolean
  /** Smoothed wait for the first piece of a transfer beyond the time the piece takes, and time per piece, ms; 0 before the first. */
  firstByteMs: number
  pieceMs: number
  registryArrivedAt: number
  readonly parallel: Parallel
  registryFailures: number
  registryRetryAt: number
  /** The registry's answer to this host is final: no access, or no such content. */
  registryRefused: boolean
  hedges: number
  report: { at: number; got: Set<number>; spread: Set<number>; bytes: number }
  /** Pieces fetched under a lease that no neighbour has announced yet. */
  readonly unspread: Set<number>
  completeAt: number | undefined
}

export interface SwarmState {
  readonly self: string
  readonly blobs: Map<Digest, BlobState>
  readonly neighbours: Map<string, Neighbour>
  readonly banned: Set<string>
  /** Hosts named as being of other zones, the latest last. */
  readonly foreign: Set<string>
  requests: number
  /** Since when this host has been fetching without a break, and bytes received since. */
  busySince: number
  received: number
  /** When a piece of any blob landed last. */
  arrivedAt: number
  trackerUp: boolean
  trackerDownAt: number
  /** Smoothed time from request to piece over all neighbours, ms; 0 before the first. */
  pace: number
  nextOrder: number
  nextFetch: number
  readonly fetching: FetchSlots
  /** What this host may receive, bytes a second; undefined for as much as its link carries. */
  readonly downloadLimit: number | undefined
  /** Uniform in [0, 1): seeded by whoever makes the state. */
  readonly random: () => number
}

export function createState(self: string, random: () => number, trackerUp: boolean, downloadLimit?: number): SwarmState {
  return {
    self,
    blobs: new Map(),
    neighbours: new Map(),
    banned: new Set(),
    foreign: new Set(),
    requests: 0,
    busySince: Number.NEGATIVE_INFINITY,
    received: 0,
    arrivedAt: Number.NEGATIVE_INFINITY,
    trackerUp,
    trackerDownAt: Number.NEGATIVE_INFINITY,
    pace: 0,
    nextOrder: 0,
    nextFetch: 0,
    fetching: createFetchSlots(),
    downloadLimit,
    random
  }
}

export function createBlob(
  state: SwarmState,
  digest: Digest,
  layout: PieceLayout,
  have: PieceSet,
  now: number,
  pull: string = digest
): BlobState {
  const single = layout.pieces === 1
  return {
    digest,
    pull,
    layout,
    order: state.nextOrder++,
    openedAt: now,
    have: have.clone(),
    vouched: single ? PieceSet.full(1) : new PieceSet(layout.pieces),
    assigned: new PieceSet(layout.pieces),
    wanted: new PieceSet(layout.pieces),
    requests: new Map(),
    holders: new Map(),
    copies: new Uint16Array(layout.pieces),
    rare: new PieceSet(layout.pieces),
    imports: new PieceSet(layout.pieces),
    orphans: new PieceSet(layout.pieces),
    importable: new PieceSet(layout.pieces),
    gateway: false,
    leases: new Map(),
    fetches: [],
    map: single ? 'proven' : 'none',
    readers: new Map(),
    planned: false,
    adriftSince: undefined,
    arrivedAt: now,
    idleSince: undefined,
    askedPeersAt: now,
    askedOrphansAt: Number.NEGATIVE_INFINITY,
    noRange: false,
    firstByteMs: 0,
    pieceMs: 0,
    registryArrivedAt: now,
    parallel: createParallel(now),
    registryFailures: 0,
    registryRetryAt: 0,
    registryRefused: false,
    hedges: 0,
    report: { at: now, got: new Set(), spread: new Set(), bytes: 0 },
    unspread: new Set(),
    completeAt: undefined
  }
}

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

/** Notes that something is to be fetched from `now` on. A host that is fetching already goes on as before. */
export function beginToFetch(state: SwarmState, now: number): void {
  for (const { have } of state.blobs.values()) if (!have.complete) return
  state.busySince = now
  state.received = 0
}

export function faring(state: SwarmState, now: number): Faring {
  return { received: state.received, elapsed: Math.floor(now - state.busySince) }
}

const SMOOTHING = 0.2

/** Folds `value` into a moving average; 0 means that there is none yet. */
export function smooth(average: number, value: number): number {
  return average === 0 ? value : average + SMOOTHING * (value - average)
}
