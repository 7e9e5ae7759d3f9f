/**
 * How many connections read one blob from the registry at once. Object stores give each connection 50 to 100 MB/s
 * whatever the link, so a host that reads much of a blob alone doubles its connections while that pays, and halves them
 * when the registry objects.
 */
/** Connections of one host per blob: what registries stand, and enough for a 10 Gbit/s link. */
const MAX_STREAMS = 8
/** Time over which a number of connections is judged, ms, and the pieces that must come in it for each of them. */
const WINDOW_MS = 200
const WINDOW_PIECES = 3
/** Less than this much more throughput is noise, or the link is full. */
const GAIN = 1.15
/** Wait before more connections are tried again after it did not pay, ms. */
const SETTLED_MS = 10_000

export interface Parallel {
  /** Connections to use now. */
  streams: number
  /** The number that is known to pay, and what it brought, bytes a millisecond. */
  base: number
  baseRate: number
  /** Most that the registry has not objected to. */
  cap: number
  since: number
  bytes: number
  pieces: number
  settledUntil: number
}

/** What it needs to know of a blob that is being fetched. */
interface Fetched {
  readonly parallel: Parallel
  /** Neighbours that fetch or have it. */
  readonly holders: ReadonlyMap<string, unknown>
}

export function createParallel(now: number): Parallel {
  return { streams: 1, base: 1, baseRate: 0, cap: MAX_STREAMS, since: now, bytes: 0, pieces: 0, settledUntil: 0 }
}

/** Hosts that read the same blob share the registry already: only what is left of the limit is this host's. */
function limitOf(blob: Fetched): number {
  return Math.max(1, Math.min(blob.parallel.cap, Math.floor(MAX_STREAMS / (blob.holders.size + 1))))
}

/** A piece has come from the registry. */
export function noteThroughput(blob: Fetched, bytes: number, now: number): void {
  const { parallel } = blob
  parallel.bytes += bytes
  parallel.pieces++
  const took = now - parallel.since
  if (took < WINDOW_MS || parallel.pieces < WINDOW_PIECES * parallel.streams) return
  judge(blob, parallel.bytes / took, now)
  Object.assign(parallel, { since: now, bytes: 0, pieces: 0 })
}

function judge(blob: Fetched, rate: number, now: number): void {
  const { parallel } = blob
  const limit = limitOf(blob)
  if (parallel.streams > parallel.base && rate < parallel.baseRate * GAIN) {
    parallel.streams = parallel.base
    parallel.settledUntil = now + SETTLED_MS
    return
  }
  parallel.base = Math.min(parallel.streams, limit)
  parallel.baseRate = rate
  parallel.streams = now < parallel.settledUntil ? parallel.base : Math.min(limit, parallel.base * 2)
}

/** The stream was idle or new: what came before says nothing of the next window. */
export function restartWindow(blob: Fetched, now: number): void {
  Object.assign(blob.parallel, { since: now, bytes: 0, pieces: 0 })
}

/** The registry refused or broke off a request: it may have had too many. */
export function backOff(blob: Fetched, now: number): void {
  const { parallel } = blob
  parallel.cap = Math.max(1, Math.floor(parallel.streams / 2))
  parallel.streams = Math.min(parallel.streams, parallel.cap)
  parallel.base = Math.min(parallel.base, parallel.cap)
  parallel.settledUntil = now + SETTLED_MS
}
