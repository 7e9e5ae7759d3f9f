/** Pure choices: which neighbour, which piece, what to hedge, whom to serve. Nothing here changes anything. */
import type { UploadRequest } from '../ports.ts'
import { mayAsk } from './derived.ts'
import type { BlobState, Neighbour, Request, SwarmState } from './state.ts'

/**
 * Requests in flight over all neighbours. In simulation 14 are enough, and 8 cost 7 %. Real hosts send what they have been
 * asked for side by side, so that each piece takes as long as all of them: with 14, a 40 Mbit/s link was idle for 7 %.
 */
export const IN_FLIGHT = 24
/** Bytes that they may be of, for the sake of memory; fewer requests are enough where pieces are large. */
const IN_FLIGHT_BYTES = 24 * 1024 * 1024
const LARGE_IN_FLIGHT = 14
/** Requests in flight for imports from other zones, which come first: a whole zone waits for them. */
const IMPORTS_IN_FLIGHT = 4
/** Shortest silence of a neighbour with requests open that counts as a stall, ms. */
const STALL_MIN_MS = 500
/** Allowed silence before any piece has shown how fast this swarm is, ms. */
const STALL_UNKNOWN_MS = 4000
const STALL_PACES = 4
const HEDGE_MIN_MS = 150
const HEDGE_PACES = 3
/** Pieces of a blob that may be asked of a second neighbour: this share, and at least two. */
const HEDGE_SHARE = 0.01
const HEDGE_MIN = 2

/**
 * Uploads that a neighbour must have more than another, for a request to be taken to that one: in a small fleet, or for a
 * small blob, many ask the first host that has a piece, and others have it long before all of them are served.
 */
const WITHDRAW_GAP = 3

/**
 * Under a limit, requests in flight for so much of it, ms: more would come no sooner, hold up the pieces before them,
 * and arrive in bursts.
 */
const LIMITED_AHEAD_MS = 500
/** One that arrives, and one asked for meanwhile. */
const LEAST_IN_FLIGHT = 2

/** Requests that may be in flight now. */
export function requestLimit(state: SwarmState): number {
  const inMemory = Math.max(LARGE_IN_FLIGHT, Math.floor(IN_FLIGHT_BYTES / largestPiece(state)))
  const inTime = Math.max(LEAST_IN_FLIGHT, Math.floor(LIMITED_AHEAD_MS / pieceTime(state)))
  return Math.min(IN_FLIGHT, inMemory, inTime)
}

/** What the largest piece takes under this host's own limit, ms; 0 without one. */
function pieceTime(state: SwarmState): number {
  return state.downloadLimit === undefined ? 0 : (largestPiece(state) * 1000) / state.downloadLimit
}

function largestPiece(state: SwarmState): number {
  let largest = 0
  for (const { layout } of state.blobs.values()) largest = Math.max(largest, Math.min(layout.size, layout.pieceSize))
  return largest
}

/** The blobs in the order in which they are asked for: the earliest first; under a limit, so that images share it alike. */
function inTurn(state: SwarmState): Iterable<BlobState> {
  if (state.downloadLimit === undefined) return state.blobs.values()
  const open = new Map<string, number>()
  const requests = ({ pull }: BlobState) => open.get(pull) ?? 0
  for (const blob of state.blobs.values()) open.set(blob.pull, requests(blob) + blob.requests.size)
  return [...state.blobs.values()].sort((a, b) => requests(a) - requests(b))
}

/** Requests that one neighbour may have open: one, or a fair share when there are few neighbours. */
export function perNeighbourLimit(state: SwarmState): number {
  return Math.max(1, Math.floor(IN_FLIGHT / Math.max(1, state.neighbours.size)))
}

function cost(neighbour: Neighbour): number {
  return 2 * neighbour.requests.size + neighbour.load
}

/** The cheapest of the neighbours that `eligible` admits, ties broken at random. */
function cheapest(state: SwarmState, eligible: (neighbour: Neighbour) => boolean): Neighbour | undefined {
  let best: Neighbour | undefined
  let ties = 0
  for (const neighbour of state.neighbours.values()) {
    if (neighbour.suspectSince !== undefined || !eligible(neighbour)) continue
    const difference = best === undefined ? -1 : cost(neighbour) - cost(best)
    if (difference > 0) continue
    ties = difference < 0 ? 1 : ties + 1
    if (difference < 0 || state.random() < 1 / ties) best = neighbour
  }
  return best
}

/** The neighbour to ask next: it has something wanted and a free place, and the least to do. */
export function chooseNeighbour(state: SwarmState): Neighbour | undefined {
  const limit = perNeighbourLimit(state)
  const free = (neighbour: Neighbour) => neighbour.useful > 0 && neighbour.requests.size < limit
  if (state.foreign.size === 0) return cheapest(state, free)
  const imports = importsOpen(state) < IMPORTS_IN_FLIGHT ? cheapest(state, (neighbour) => neighbour.foreign && free(neighbour)) : undefined
  return imports ?? cheapest(state, (neighbour) => !neighbour.foreign && free(neighbour))
}

function importsOpen(state: SwarmState): number {
  let open = 0
  for (const neighbour of state.neighbours.values()) if (neighbour.foreign) open += neighbour.requests.size
  return open
}

/** The neighbour to ask for just this piece, whatever it has open. */
export function chooseHolder(state: SwarmState, blob: BlobState, piece: number, except: readonly Request[] = []): Neighbour | undefined {
  return cheapest(
    state,
    (neighbour) =>
      blob.holders.get(neighbour.id)?.has(piece) === true &&
      mayAsk(blob, neighbour, piece) &&
      !except.some((request) => request.peer === neighbour.id)
  )
}

/**
 * What to ask of `neighbour`: something rare it has, at random, of any blob; else the lowest piece of the earliest. If rare
 * pieces of later blobs waited for the earlier blobs, they would pile up at who fetched them, and all wait for its uplink at
 * the end.
 */
export function choosePiece(state: SwarmState, neighbour: Neighbour): { blob: BlobState; piece: number } | undefined {
  let rarest: { blob: BlobState; piece: number } | undefined
  let ties = 0
  let lowest: { blob: BlobState; piece: number } | undefined
  for (const blob of inTurn(state)) {
    const has = blob.holders.get(neighbour.id)
    if (has === undefined || blob.wanted.count === 0) continue
    const may = neighbour.foreign ? [has, blob.importable] : [has]
    const rare = blob.rare.randomCommon([blob.wanted, ...may], state.random)
    if (rare >= 0 && (++ties === 1 || state.random() < 1 / ties)) rarest = { blob, piece: rare }
    const piece = lowest === undefined ? blob.wanted.firstCommon(may) : -1
    if (piece >= 0) lowest = { blob, piece }
    // A rare piece of an image whose turn it is not has to wait for its turn.
    if (lowest !== undefined && state.downloadLimit !== undefined) break
  }
  return rarest ?? lowest
}

/** Whether `neighbour` has kept silent too long, judged by its own pace and the swarm's. */
export function isStalled(state: SwarmState, neighbour: Neighbour, now: number): boolean {
  if (neighbour.suspectSince !== undefined || neighbour.requests.size === 0) return false
  let since = neighbour.heardAt
  let oldest = Number.POSITIVE_INFINITY
  for (const request of neighbour.requests) oldest = Math.min(oldest, request.since)
  since = Math.max(since, oldest)
  const pace = Math.max(neighbour.pace, state.pace)
  return now - since > (pace === 0 ? STALL_UNKNOWN_MS : Math.max(STALL_MIN_MS, STALL_PACES * pace))
}

/** Requests to repeat elsewhere: only once nothing is left to request, and only so many. */
export function chooseHedges(state: SwarmState, blob: BlobState, now: number): { request: Request; holder: Neighbour }[] {
  if (blob.requests.size === 0 || state.pace === 0) return []
  for (const { wanted } of state.blobs.values()) if (wanted.count > 0) return []
  const budget = Math.max(HEDGE_MIN, Math.floor(blob.layout.pieces * HEDGE_SHARE)) - blob.hedges
  // What this host's own limit holds up comes no sooner from elsewhere.
  const late = Math.max(HEDGE_MIN_MS, HEDGE_PACES * Math.max(state.pace, state.requests * pieceTime(state)))
  const hedges: { request: Request; holder: Neighbour }[] = []
  for (const open of blob.requests.values()) {
    if (hedges.length >= budget) break
    const [request] = open
    if (request === undefined || open.length > 1 || now - request.since < late) continue
    const holder = chooseHolder(state, blob, request.piece, open)
    if (holder !== undefined) hedges.push({ request, holder })
  }
  return hedges
}

/**
 * A request that waits at a busier neighbour for a piece which `peer`, of whom there is nothing else to ask, has by now.
 * Only what a neighbour has not begun to send is taken back, so nothing comes twice.
 */
export function chooseWithdrawal(state: SwarmState, peer: string): Request | undefined {
  const idle = state.neighbours.get(peer)
  if (idle === undefined || idle.useful > 0 || idle.suspectSince !== undefined || idle.foreign) return undefined
  if (idle.requests.size >= perNeighbourLimit(state)) return undefined
  let most = cost(idle) + WITHDRAW_GAP
  let chosen: Request | undefined
  for (const neighbour of state.neighbours.values()) {
    if (neighbour === idle || neighbour.foreign) continue
    for (const request of neighbour.requests) {
      if (request.withdrawnFor === peer) return undefined
      if (neighbour.load < most || request.withdrawnFor !== undefined) continue
      const blob = state.blobs.get(request.blob)
      if (blob?.holders.get(peer)?.has(request.piece) !== true || blob.requests.get(request.piece)?.length !== 1) continue
      chosen = request
      most = neighbour.load + 1
    }
  }
  return chosen
}

const FRESH_SERVINGS = 2

/**
 * Serving order: a piece never served, then one served once, then whoever has fared worst, then first come. Serving what
 * is fresh spreads it; serving the slowest removes the tail. It is by rate and not by what they have, else hosts that
 * came later would keep one that is nearly done from its last pieces.
 */
export function nextUpload(waiting: readonly UploadRequest[]): number {
  let best = 0
  for (let i = 1; i < waiting.length; i++) {
    const [a, b] = [waiting[i], waiting[best]]
    if (a === undefined || b === undefined) continue
    const freshness = Math.min(a.served, FRESH_SERVINGS) - Math.min(b.served, FRESH_SERVINGS)
    if (freshness < 0 || (freshness === 0 && a.served >= FRESH_SERVINGS && a.rate < b.rate)) best = i
  }
  return best
}
