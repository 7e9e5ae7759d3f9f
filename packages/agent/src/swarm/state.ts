/**
 * What the scheduler knows. One state covers all blobs that this host fetches, since they share its neighbours and its
 * link.
 *
 * Who may touch what: scheduler.ts and the files that it hands events to (arrivals.ts, neighbours.ts, leases.ts,
 * adrift.ts, zones.ts, derived.ts) change this state; policy.ts only reads it; the driver never touches it. Nothing here
 * waits, reads a clock or draws true randomness.
 */
import type { Lease } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { PieceLayout, PieceRun } from '@layerswarm/core/piece-layout.ts'
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
  /** It was taken back, unless its answer has begun, for the sake of this neighbour. */
  withdrawnFor?: string
}

export interface Neighbour {
  readonly id: string
  readonly metAt: number
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
  /** Pieces to ask a peer for: missing, verifiable, not requested and not assigned. Derived; see derived.ts. */
  readonly wanted: PieceSet
  readonly requests: Map<number, Request[]>
  /** Neighbours that are known to fetch it, too. */
  readonly watchers: Set<string>
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
  /** When the tracker was last told of any blob. */
  reportedAt: number
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
    reportedAt: Number.NEGATIVE_INFINITY,
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
    watchers: new Set(),
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
