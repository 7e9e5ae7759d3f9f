/**
 * Zones: a blob crosses between two of them once, not once per host. A few hosts of each zone are its gateways; each
 * imports one run in so many from the gateways of other zones, and everybody else takes them from there.
 */
import { importerOf } from '@layerswarm/core/importer.ts'
import { runOf } from '@layerswarm/core/piece-layout.ts'
import type { Gateway, PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import { refreshImport, setForeign } from './derived.ts'
import type { BlobState, Neighbour, SwarmState } from './state.ts'

/** Hosts of other zones remembered: all that the gateways of many zones and images may meet. */
const MAX_FOREIGN = 4096

/** Remembers which of the named hosts are of other zones. */
export function noteZones(state: SwarmState, peers: readonly PeerAddress[]): void {
  for (const { id, zone } of peers) {
    state.foreign.delete(id)
    if (zone !== undefined) state.foreign.add(id)
    const neighbour = state.neighbours.get(id)
    if (neighbour !== undefined) setForeign(state, neighbour, zone !== undefined)
  }
  for (const id of state.foreign) {
    if (state.foreign.size <= MAX_FOREIGN) break
    if (!state.neighbours.has(id)) state.foreign.delete(id)
  }
}

/** Takes a place among the zone's gateways, or, without one, leaves imports to others. */
export function takePlace(state: SwarmState, blob: BlobState, place: Gateway | undefined): void {
  blob.gateway = place !== undefined && place.number < place.of
  blob.orphans.clear()
  for (let piece = 0; piece < blob.layout.pieces; piece++) {
    const mine = place !== undefined && importerOf(blob.digest, runOf(piece), place.of) === place.number
    if (mine) blob.imports.add(piece)
    else blob.imports.remove(piece)
    refreshImport(state, blob, piece)
  }
}

/** From now on these pieces are asked of whoever has them: nobody in the zone seems to bring them, or knows who should. */
export function importAnyway(state: SwarmState, blob: BlobState, pieces: Iterable<number>): void {
  for (const piece of pieces) if (blob.orphans.add(piece)) refreshImport(state, blob, piece)
}

/**
 * Neighbours of the own zone that have to do with what is fetched: connections outlive what they were made for, and those
 * of earlier images, whose hosts have no part in this one, must not stand in the way of others.
 */
export function neighboursOfUse(state: SwarmState): number {
  let count = 0
  for (const neighbour of state.neighbours.values()) if (!neighbour.foreign && isOfUse(state, neighbour)) count++
  return count
}

function isOfUse(state: SwarmState, { id, metAt }: Neighbour): boolean {
  if (metAt >= state.busySince) return true
  for (const { holders, watchers } of state.blobs.values()) if (holders.has(id) || watchers.has(id)) return true
  return false
}

/** Whether a neighbour has `piece` that may be asked for it. */
export function isAskable(state: SwarmState, blob: BlobState, piece: number): boolean {
  if ((blob.copies[piece] ?? 0) > 0) return true
  if (state.foreign.size === 0 || !blob.importable.has(piece)) return false
  for (const pieces of blob.holders.values()) if (pieces.has(piece)) return true
  return false
}
