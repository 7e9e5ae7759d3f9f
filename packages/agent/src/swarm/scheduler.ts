/**
 * The agent's scheduler: facts in, commands out. It decides what to ask of whom and what to fetch from the registry,
 * for all blobs that this host is fetching; the driver acts and feeds back what came of it. Pure but for the state it
 * is handed: no I/O, clock, timers or true randomness, so that the simulator and the tests run it unchanged.
 */
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import { isHopeless, reportOrphans, takeOrphanedRuns } from './adrift.ts'
import { available, finish, landed, requestFailed } from './arrivals.ts'
import { addRequest, refresh, removeHolder, removeRequest, setAssigned } from './derived.ts'
import { grantLeases, registryFailed, report, revokeLeases, startFetches, stopIdleFetches } from './leases.ts'
import type { BlobEvent, SwarmCommand, SwarmEvent } from './messages.ts'
import { askForNeighbours, neighbourDown, neighbourUp, stalls } from './neighbours.ts'
import { chooseHedges, chooseHolder, chooseNeighbour, choosePiece, chooseWithdrawal, requestLimit } from './policy.ts'
import { arriving } from './progress.ts'
import { type BlobState, beginToFetch, createBlob, faring, type Neighbour, type SwarmState } from './state.ts'
import { importAnyway, neighboursOfUse, noteZones, takePlace } from './zones.ts'

/** Neighbours of the own zone beyond which no more are dialled. */
const MAX_NEIGHBOURS = 20
/** How long a finished blob stays watched for its last leased pieces to spread, ms. */
const RETIRE_MS = 5000

/** Applies one event. @param now milliseconds on the scale of every other `now` */
export function step(state: SwarmState, event: SwarmEvent, now: number): readonly SwarmCommand[] {
  const commands = apply(state, event, now)
  // Bytes that arrive free nothing to hand out; they come from every blob, each time right before a tick.
  if (event.type !== 'arriving' && (event.type !== 'available' || !event.gone)) fill(state, now, commands)
  if (event.type === 'available') withdraw(state, event.peer, commands)
  else if (event.type === 'landed') withdraw(state, event.from, commands)
  return commands
}

function apply(state: SwarmState, event: SwarmEvent, now: number): SwarmCommand[] {
  switch (event.type) {
    case 'tracker':
      if (state.trackerUp && !event.up) state.trackerDownAt = now
      state.trackerUp = event.up
      return []
    case 'peers':
      return meet(state, event.peers)
    case 'up':
      return neighbourUp(state, event.peer, now, event.blob)
    case 'down':
      return neighbourDown(state, event.peer)
    case 'open': {
      const blob = createBlob(state, event.blob, event.layout, event.have, now, event.pull)
      beginToFetch(state, now)
      state.blobs.set(event.blob, blob)
      if (!state.trackerUp) importAnyway(state, blob, PieceSet.full(blob.layout.pieces))
      for (const piece of blob.vouched) refresh(state, blob, piece)
      if (blob.have.complete) return finish(blob, now)
      return [...state.neighbours.keys()].map((peer) => ({ type: 'observe', peer, blob: event.blob }))
    }
    case 'tick':
      return [
        ...stalls(state, now),
        ...[...state.blobs.values()].flatMap((blob) => tickBlob(state, blob, now)),
        ...askForNeighbours(state, now)
      ]
    default: {
      const blob = state.blobs.get(event.blob)
      return blob === undefined ? [] : applyToBlob(state, blob, event, now)
    }
  }
}

/** Connects to hosts that were named. Those of other zones are few by the tracker's choice. */
function meet(state: SwarmState, peers: readonly PeerAddress[]): SwarmCommand[] {
  noteZones(state, peers)
  let room = MAX_NEIGHBOURS - neighboursOfUse(state)
  return peers
    .filter(({ id, zone }) => {
      if (id === state.self || state.neighbours.has(id) || state.banned.has(id)) return false
      return zone !== undefined || room-- > 0
    })
    .map((peer) => ({ type: 'connect', peer }))
}

function applyToBlob(state: SwarmState, blob: BlobState, event: BlobEvent, now: number): SwarmCommand[] {
  switch (event.type) {
    case 'close':
      return closeBlob(state, blob)
    case 'planned':
      blob.planned = true
      blob.adriftSince = undefined
      takePlace(state, blob, event.gateway)
      return []
    case 'place':
      takePlace(state, blob, event.gateway)
      return []
    case 'planFailed':
      blob.adriftSince ??= now
      importAnyway(state, blob, PieceSet.full(blob.layout.pieces))
      return []
    case 'leases': {
      const commands = revokeLeases(state, blob, event.revoke)
      commands.push(...grantLeases(state, blob, event.grant))
      return commands
    }
    case 'map':
      blob.map = event.proven ? 'proven' : 'word'
      return vouch(state, blob, 0, blob.layout.pieces)
    case 'mapFailed':
      return unvouch(state, blob, event.vouched)
    case 'vouched':
      return vouch(state, blob, event.run.first, event.run.count)
    case 'available':
      return available(state, blob, event, now)
    case 'arriving':
      arriving(state, blob, event, now)
      return []
    case 'landed':
      return landed(state, blob, event, now)
    case 'withdrawn':
      removeRequest(state, blob, event.peer, event.piece)
      return []
    case 'failed':
      return requestFailed(state, blob, event, now)
    case 'noRange':
      blob.noRange = true
      for (const fetch of blob.fetches) Object.assign(fetch, { run: { first: 0, count: blob.layout.pieces } })
      return []
    case 'fetchEnded':
      dropFetch(blob, event.fetch)
      blob.registryFailures = 0
      return []
    case 'fetchFailed':
      dropFetch(blob, event.fetch)
      return registryFailed(state, blob, event.reason, now)
    case 'reader':
      return reader(blob, event.piece, event.waiting)
    case 'discarded':
      for (const piece of event.pieces) if (blob.have.remove(piece)) refresh(state, blob, piece)
      blob.completeAt = undefined
      return []
  }
}

function dropFetch(blob: BlobState, id: number): void {
  const at = blob.fetches.findIndex((fetch) => fetch.id === id)
  if (at >= 0) blob.fetches.splice(at, 1)
}

function closeBlob(state: SwarmState, blob: BlobState): SwarmCommand[] {
  const commands: SwarmCommand[] = []
  for (const [piece, open] of [...blob.requests]) {
    for (const request of [...open]) {
      removeRequest(state, blob, request.peer, piece)
      commands.push({ type: 'cancel', peer: request.peer, blob: blob.digest, piece })
    }
  }
  for (const piece of blob.assigned.clone()) setAssigned(state, blob, piece, false)
  commands.push(...stopIdleFetches(blob))
  for (const peer of [...blob.holders.keys()]) removeHolder(state, blob, peer)
  if (blob.leases.size > 0 && !blob.have.complete) {
    commands.push({
      type: 'tell',
      note: { t: 'release', blob: blob.digest, runs: [...blob.leases.keys()], reason: 'stopping', bar: false }
    })
  }
  state.blobs.delete(blob.digest)
  return commands
}

function vouch(state: SwarmState, blob: BlobState, first: number, count: number): SwarmCommand[] {
  for (let piece = first; piece < first + count; piece++) if (blob.vouched.add(piece)) refresh(state, blob, piece)
  return []
}

function unvouch(state: SwarmState, blob: BlobState, stillVouched: Iterable<number>): SwarmCommand[] {
  blob.map = 'none'
  blob.vouched.clear()
  for (const piece of stillVouched) blob.vouched.add(piece)
  const commands = [...blob.requests]
    .filter(([piece]) => !blob.vouched.has(piece))
    .flatMap(([piece, open]) => open.map(({ peer }) => ({ type: 'cancel', peer, blob: blob.digest, piece }) as const))
  for (const { peer, piece } of commands) removeRequest(state, blob, peer, piece)
  for (let piece = 0; piece < blob.layout.pieces; piece++) refresh(state, blob, piece)
  return commands
}

function reader(blob: BlobState, piece: number, waiting: boolean): SwarmCommand[] {
  const readers = (blob.readers.get(piece) ?? 0) + (waiting ? 1 : -1)
  if (readers > 0) blob.readers.set(piece, readers)
  else blob.readers.delete(piece)
  return []
}

function tickBlob(state: SwarmState, blob: BlobState, now: number): SwarmCommand[] {
  const commands = report(state, blob, now)
  if (blob.completeAt !== undefined) {
    if (blob.unspread.size === 0 || now - blob.completeAt >= RETIRE_MS) commands.push({ type: 'retire', blob: blob.digest })
    return commands
  }
  for (const { request, holder } of chooseHedges(state, blob, now)) {
    blob.hedges++
    addRequest(state, blob, holder, request.piece, now)
    commands.push({ type: 'request', peer: holder.id, blob: blob.digest, piece: request.piece, faring: faring(state, now) })
  }
  takeOrphanedRuns(state, blob, now)
  commands.push(...reportOrphans(state, blob, now))
  if (isHopeless(blob, now)) commands.push({ type: 'giveUp', blob: blob.digest })
  return commands
}

/** Takes a request back from a neighbour where it waits, for the sake of one that is idle. */
function withdraw(state: SwarmState, idle: string, commands: SwarmCommand[]): void {
  const request = chooseWithdrawal(state, idle)
  if (request === undefined) return
  request.withdrawnFor = idle
  commands.push({ type: 'withdraw', peer: request.peer, blob: request.blob, piece: request.piece })
}

/** Hands out what can be asked for now: first what a reader waits for, then neighbour by neighbour; then the registry. */
function fill(state: SwarmState, now: number, commands: SwarmCommand[]): void {
  const ask = (blob: BlobState, neighbour: Neighbour, piece: number) => {
    addRequest(state, blob, neighbour, piece, now)
    commands.push({ type: 'request', peer: neighbour.id, blob: blob.digest, piece, faring: faring(state, now) })
  }
  for (const blob of state.blobs.values()) {
    for (const piece of blob.readers.keys()) {
      if (!blob.wanted.has(piece)) continue
      const neighbour = chooseHolder(state, blob, piece)
      if (neighbour !== undefined) ask(blob, neighbour, piece)
    }
  }
  const limit = requestLimit(state)
  while (state.requests < limit) {
    const neighbour = chooseNeighbour(state)
    const choice = neighbour === undefined ? undefined : choosePiece(state, neighbour)
    if (neighbour === undefined || choice === undefined) break
    ask(choice.blob, neighbour, choice.piece)
  }
  for (const blob of state.blobs.values()) if (blob.completeAt === undefined) commands.push(...startFetches(state, blob, now))
}
