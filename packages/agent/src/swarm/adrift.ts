/** The scheduler without a tracker's word: owner order, the last resort of the registry, and when to give up. */
import { piecesOfRun, runCount } from '@layerswarm/core/piece-layout.ts'
import { isUnanswered, setAssigned } from './derived.ts'
import type { SwarmCommand } from './messages.ts'
import { OWNER_STEP_MS, ownerRank } from './owner-order.ts'
import type { BlobState, SwarmState } from './state.ts'
import { importAnyway, isAskable } from './zones.ts'

/** Silence of a lost tracker before its work is taken over, ms: a restart often takes less. */
const TRACKER_GRACE_MS = 1000
/**
 * Nothing at all has arrived for this long, of any blob: the registry is asked without a lease, ms. A layer that waits
 * while others of the image arrive is not forgotten, it is behind them.
 */
const LAST_RESORT_MS = 5000
/**
 * The same for a blob of one piece of whose image nothing arrives, ms: manifests and configs, without which nothing else
 * of an image can begin, and whose clients are answered within five seconds. Half of that is left to the registry. Sooner,
 * hosts that are still connecting to each other would all ask for a manifest, and some registries count that as a pull each.
 */
const SMALL_LAST_RESORT_MS = 2500
/** Nothing has arrived for this long and the registry fails: readers are told, ms. */
const GIVE_UP_MS = 15_000
/** The same when the registry's answer was final and no neighbour has anything, ms. */
const GIVE_UP_REFUSED_MS = 2500
const ORPHAN_IDLE_MS = 500
const ORPHANS_EACH_MS = 1000
const MAX_ORPHANS = 512

/** When owner order began to count for `blob`; undefined while a tracker plans for it. */
function adriftFrom(state: SwarmState, blob: BlobState): number | undefined {
  if (blob.adriftSince !== undefined) return blob.adriftSince
  if (state.trackerUp) return undefined
  return blob.planned ? Math.max(blob.openedAt, state.trackerDownAt + TRACKER_GRACE_MS) : blob.openedAt
}

/** Nobody is about to bring `piece`: not here, not on its way, and not to be had from a neighbour. */
function uncovered(state: SwarmState, blob: BlobState, piece: number): boolean {
  if (blob.have.has(piece) || blob.assigned.has(piece) || blob.requests.has(piece)) return false
  return !blob.vouched.has(piece) || !isAskable(state, blob, piece)
}

function uncoveredPieces(state: SwarmState, blob: BlobState, run: number): number[] {
  const { first, count } = piecesOfRun(blob.layout, run)
  return Array.from({ length: count }, (_, i) => first + i).filter((piece) => uncovered(state, blob, piece))
}

function assign(state: SwarmState, blob: BlobState, pieces: readonly number[]): void {
  for (const piece of pieces) setAssigned(state, blob, piece, true)
}

/** When something arrived last of any blob of a pull: a small layer waits behind the others of its image. */
function arrivedOf(state: SwarmState, pull: string): number {
  let at = Number.NEGATIVE_INFINITY
  for (const blob of state.blobs.values()) if (blob.pull === pull) at = Math.max(at, blob.arrivedAt)
  return at
}

/** Takes the runs whose turn has come by owner order, and everything when nothing arrives at all. */
export function takeOrphanedRuns(state: SwarmState, blob: BlobState, now: number): void {
  if (blob.registryRefused || now < blob.registryRetryAt) return
  const small = blob.layout.pieces === 1
  const arrivedAt = small ? arrivedOf(state, blob.pull) : Math.max(blob.arrivedAt, state.arrivedAt)
  if (now - arrivedAt >= (small ? SMALL_LAST_RESORT_MS : LAST_RESORT_MS)) {
    for (let piece = 0; piece < blob.layout.pieces; piece++) {
      if (uncovered(state, blob, piece) || isUnanswered(state, blob, piece)) setAssigned(state, blob, piece, true)
    }
    return
  }
  const from = adriftFrom(state, blob)
  if (from === undefined || now < from) return
  for (let run = 0; run < runCount(blob.layout); run++) {
    const pieces = uncoveredPieces(state, blob, run)
    if (pieces.length === 0) continue
    const rank = blob.holders.size === 0 ? 0 : ownerRank(blob.digest, run, state.self, blob.holders.keys())
    if (now - from >= rank * OWNER_STEP_MS) assign(state, blob, pieces)
  }
}

function isFetching(state: SwarmState): boolean {
  if (state.requests > 0) return true
  for (const { fetches } of state.blobs.values()) if (fetches.length > 0) return true
  return false
}

/** Looks farther for pieces that no neighbour has, or would give, while this host has nothing to do: in other zones, and by the tracker. */
export function reportOrphans(state: SwarmState, blob: BlobState, now: number): SwarmCommand[] {
  // One of which nothing is here or read waits for its turn while the host is busy with others.
  const waits = blob.have.count === 0 && blob.readers.size === 0 && isFetching(state)
  const idle = blob.requests.size === 0 && blob.assigned.count === 0 && !waits
  if (!idle) blob.idleSince = undefined
  else blob.idleSince ??= now
  if (blob.idleSince === undefined || now - blob.idleSince < ORPHAN_IDLE_MS) return []
  if (now - blob.askedOrphansAt < ORPHANS_EACH_MS) return []
  const pieces: number[] = []
  for (let piece = 0; piece < blob.layout.pieces && pieces.length < MAX_ORPHANS; piece++) {
    if (uncovered(state, blob, piece) || isUnanswered(state, blob, piece)) pieces.push(piece)
  }
  if (pieces.length === 0) return []
  blob.askedOrphansAt = now
  importAnyway(state, blob, pieces)
  return state.trackerUp ? [{ type: 'tell', note: { t: 'orphans', blob: blob.digest, pieces } }] : []
}

/** Whether no source is left that could bring the rest. */
export function isHopeless(blob: BlobState, now: number): boolean {
  if (blob.registryFailures === 0 || blob.requests.size > 0) return false
  const silent = now - blob.arrivedAt
  const nobody = [...blob.holders.values()].every((pieces) => pieces.count === 0)
  return silent >= (blob.registryRefused && nobody ? GIVE_UP_REFUSED_MS : GIVE_UP_MS)
}
