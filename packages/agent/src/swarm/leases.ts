/** The scheduler's registry half: leases in hand become ranged requests, and what came of them is reported. */
import type { Lease } from '@layerswarm/core/claims.ts'
import { type PieceRun, piecesOfRun, RUN_PIECES, runOf } from '@layerswarm/core/piece-layout.ts'
import { isUnanswered, leaseOf, removeCopy, removeRequest, setAssigned } from './derived.ts'
import { noteFirstPiece } from './fetch-slots.ts'
import type { SwarmCommand } from './messages.ts'
import { backOff, noteThroughput, restartWindow } from './parallel.ts'
import { type BlobState, type SwarmState, smooth } from './state.ts'

/** Ranged requests to the registry per blob beyond those that stream: the next opens early, so that its first byte costs no gap. */
const MAX_FETCHES_AHEAD = 3
/** Requests opened before anything is known of the registry's pace. */
const FIRST_FETCHES = 2
/** The next request opens when what is under way will last no longer than this many first-byte times. */
const FIRST_BYTES_AHEAD = 2
/** Longest request in runs: what may be lost with one connection. */
const MAX_SPAN_RUNS = 32
const REPORT_MS = 100
/** How often one that imports for its zone says that it lives, ms: a few times before the tracker gives its place away. */
const SIGN_OF_LIFE_MS = 500
/** Wait before the registry is asked again after a failure, doubled each time up to the second figure, ms. */
const RETRY_FIRST_MS = 500
const RETRY_MOST_MS = 10_000

export function grantLeases(state: SwarmState, blob: BlobState, grant: readonly Lease[]): SwarmCommand[] {
  const commands: SwarmCommand[] = []
  for (const lease of grant) {
    blob.leases.set(lease.run, lease)
    const run = piecesOfRun(blob.layout, lease.run)
    for (let piece = run.first; piece < run.first + run.count; piece++) {
      if (lease.instead !== undefined) {
        removeCopy(state, blob, lease.instead, piece)
        const request = removeRequest(state, blob, lease.instead, piece)
        if (request !== undefined) commands.push({ type: 'cancel', peer: request.peer, blob: blob.digest, piece })
      }
      if (blob.have.has(piece)) noteLanded(blob, piece)
      else if (!blob.requests.has(piece)) setAssigned(state, blob, piece, true)
    }
  }
  return commands
}

/** Somebody gives no more: what was left to peers of this host's leases, and nobody else has, is fetched after all. */
export function fetchInstead(state: SwarmState, blob: BlobState): void {
  for (const run of blob.leases.keys()) {
    const { first, count } = piecesOfRun(blob.layout, run)
    for (let piece = first; piece < first + count; piece++) {
      if (isUnanswered(state, blob, piece)) setAssigned(state, blob, piece, true)
    }
  }
}

/** Leases taken away: a transfer in them is stopped, whatever of it has landed stays. */
export function revokeLeases(state: SwarmState, blob: BlobState, runs: readonly number[]): SwarmCommand[] {
  for (const run of runs) {
    if (!blob.leases.delete(run)) continue
    const pieces = piecesOfRun(blob.layout, run)
    for (let piece = pieces.first; piece < pieces.first + pieces.count; piece++) setAssigned(state, blob, piece, false)
  }
  return stopIdleFetches(blob)
}

/** Stops transfers none of whose remaining pieces are to be fetched any more; one that brought all of them just ends. */
export function stopIdleFetches(blob: BlobState): SwarmCommand[] {
  const idle = blob.fetches.filter(({ next, run }) => {
    const end = run.first + run.count
    for (let piece = next; piece < end; piece++) if (blob.assigned.has(piece)) return false
    return next < end
  })
  for (const fetch of idle) blob.fetches.splice(blob.fetches.indexOf(fetch), 1)
  return idle.map((fetch) => ({ type: 'stopFetch', blob: blob.digest, fetch: fetch.id }))
}

function underway(blob: BlobState, piece: number): boolean {
  return blob.fetches.some((fetch) => piece >= fetch.next && piece < fetch.run.first + fetch.run.count)
}

/** The next pieces to ask the registry for: adjacent assigned ones from `from` on that no transfer brings. */
function nextSpan(blob: BlobState, from: number): PieceRun | undefined {
  let first = blob.assigned.firstCommon([], from)
  while (first >= 0 && underway(blob, first)) first = blob.assigned.firstCommon([], first + 1)
  if (first < 0) return undefined
  if (blob.noRange) return { first: 0, count: blob.layout.pieces }
  // Several connections share what is assigned; a request is never less than a run, so that it lasts.
  const share = Math.ceil(blob.assigned.count / (2 * blob.parallel.streams))
  const most = blob.parallel.streams === 1 ? MAX_SPAN_RUNS * RUN_PIECES : Math.max(RUN_PIECES, share)
  let count = 1
  while (count < most && blob.assigned.has(first + count) && !underway(blob, first + count)) count++
  return { first, count }
}

/** How long the transfers under way will keep the registry's streams busy, ms. */
function workUnderWay(blob: BlobState): number {
  let pieces = 0
  for (const fetch of blob.fetches) pieces += fetch.run.first + fetch.run.count - fetch.next
  return pieces * blob.pieceMs
}

function needsFetch(blob: BlobState): boolean {
  const { fetches, parallel } = blob
  if (blob.noRange) return fetches.length === 0
  if (blob.pieceMs === 0) return fetches.length < FIRST_FETCHES
  if (fetches.length < parallel.streams) return true
  if (fetches.length >= parallel.streams + MAX_FETCHES_AHEAD) return false
  return workUnderWay(blob) < FIRST_BYTES_AHEAD * blob.firstByteMs + parallel.streams * blob.pieceMs
}

/** A blob whose reader waits is not kept from its first byte by others. */
function hasSlot(state: SwarmState, blob: BlobState): boolean {
  if (blob.fetches.length > 0 || blob.readers.size > 0) return true
  let open = 0
  for (const { fetches } of state.blobs.values()) open += fetches.length
  return open < state.fetching.slots
}

/** Starts registry transfers for what is assigned. */
export function startFetches(state: SwarmState, blob: BlobState, now: number): SwarmCommand[] {
  const commands: SwarmCommand[] = []
  if (now < blob.registryRetryAt || blob.assigned.count === 0) return commands
  while (needsFetch(blob) && hasSlot(state, blob)) {
    const waiting = Math.min(...blob.readers.keys())
    const run = (Number.isFinite(waiting) ? nextSpan(blob, waiting) : undefined) ?? nextSpan(blob, 0)
    if (run === undefined) break
    if (blob.fetches.length === 0) restartWindow(blob, now)
    const fetch = { id: state.nextFetch++, run, next: run.first, since: now, counted: 0 }
    blob.fetches.push(fetch)
    commands.push({ type: 'fetch', blob: blob.digest, fetch: fetch.id, run })
  }
  return commands
}

/** A piece has come from the registry, news or not: it was paid for, and it shows how long pieces take, and the first one. */
export function noteRegistryPiece(state: SwarmState, blob: BlobState, piece: number, bytes: number, now: number): void {
  const fetch = blob.fetches.find((candidate) => piece >= candidate.next && piece < candidate.run.first + candidate.run.count)
  blob.report.bytes += bytes - (fetch?.counted ?? 0)
  blob.registryFailures = 0
  noteThroughput(blob, bytes, now)
  if (fetch === undefined) return
  fetch.counted = 0
  const first = fetch.next === fetch.run.first
  const gap = now - Math.max(blob.registryArrivedAt, first ? fetch.since : 0)
  if (!first || blob.fetches.length > 1 || blob.pieceMs === 0) blob.pieceMs = smooth(blob.pieceMs, gap)
  if (first) noteFirstPiece(state.fetching, now - fetch.since)
  if (first) blob.firstByteMs = smooth(blob.firstByteMs, Math.max(0, now - fetch.since - blob.pieceMs))
  blob.registryArrivedAt = now
  fetch.next = piece + 1
}

/** A piece of a lease is here, from wherever: it counts as fetched, and as spread once a neighbour announces it. */
export function noteLanded(blob: BlobState, piece: number): void {
  if (leaseOf(blob, piece) === undefined) return
  blob.report.got.add(piece)
  blob.unspread.add(piece)
  if (blob.holders.size === 0 || (blob.copies[piece] ?? 0) > 0) noteSpread(blob, piece)
}

export function noteSpread(blob: BlobState, piece: number): void {
  if (blob.unspread.delete(piece)) blob.report.spread.add(piece)
}

function leaseFinished(blob: BlobState): boolean {
  for (const piece of blob.report.got) {
    const run = piecesOfRun(blob.layout, runOf(piece))
    let done = true
    for (let p = run.first; p < run.first + run.count; p++) done &&= !blob.assigned.has(p)
    if (done) return true
  }
  return false
}

/** What the tracker should hear of this blob: at most each 100 ms, at once when a run is done and more may be granted. */
export function report(state: SwarmState, blob: BlobState, now: number): SwarmCommand[] {
  const { at, got, spread, bytes } = blob.report
  const holding = blob.assigned.count > 0 || blob.unspread.size > 0
  const news = got.size > 0 || spread.size > 0 || bytes > 0
  if (!holding && !news) {
    if (!blob.gateway || blob.have.complete || now - at < SIGN_OF_LIFE_MS) return []
  } else if (now - at < REPORT_MS && !leaseFinished(blob)) return []
  // That this host lives is said by the report of any blob.
  if (holding && !news && now - state.reportedAt < REPORT_MS) return []
  state.reportedAt = now
  blob.report = { at: now, got: new Set(), spread: new Set(), bytes: 0 }
  return [{ type: 'tell', note: { t: 'report', blob: blob.digest, got: [...got], spread: [...spread], bytes, whole: blob.noRange } }]
}

/** The registry failed this host: leases go back, so that another host may try. */
export function registryFailed(state: SwarmState, blob: BlobState, reason: 'refused' | 'busy' | 'failed', now: number): SwarmCommand[] {
  blob.registryFailures++
  backOff(blob, now)
  blob.registryRetryAt = now + Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** (blob.registryFailures - 1))
  if (reason === 'refused') blob.registryRefused = true
  const runs = [...blob.leases.keys()].filter((run) => {
    const pieces = piecesOfRun(blob.layout, run)
    for (let piece = pieces.first; piece < pieces.first + pieces.count; piece++) if (blob.assigned.has(piece)) return true
    return false
  })
  for (const run of runs) blob.leases.delete(run)
  for (const piece of blob.assigned.clone()) setAssigned(state, blob, piece, false)
  const commands = stopIdleFetches(blob)
  if (runs.length > 0) {
    const note = {
      t: 'release',
      blob: blob.digest,
      runs,
      reason: reason === 'refused' ? 'denied' : reason,
      bar: reason === 'refused'
    } as const
    commands.push({ type: 'tell', note })
  }
  return commands
}
