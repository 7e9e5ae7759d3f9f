/** Piece maps and who vouches for them. Two hosts with the same root prove a map; one alone is a host's word. */
import { mapRoot } from '@layerswarm/core/claims.ts'
import { PIECE_HASH_BYTES } from '@layerswarm/core/digest.ts'
import type { Blob, FleetState, Host } from './model.ts'

/** Memory for maps: those of 2,000 blobs of 1 GiB. The least recently used goes first. */
export const MAX_MAP_BYTES = 256 * 1024 * 1024
/** Hosts whose equal word proves a map. */
const WITNESSES_NEEDED = 2
/** Witnesses remembered for one map: enough to outvote any other. */
const MAX_WITNESSES = 64
/** Different maps remembered for one blob: more than that is a fleet of liars. */
const MAX_ROOTS = 8

/** A host vouches for the map with this root. @returns whether the known map became proven by it. */
export function witness(blob: Blob, host: Host, root: string): boolean {
  for (const [other, hosts] of blob.witnesses) if (other !== root) hosts.delete(host.id)
  let hosts = blob.witnesses.get(root)
  if (hosts === undefined) {
    if (blob.witnesses.size >= MAX_ROOTS) return false
    hosts = new Set()
    blob.witnesses.set(root, hosts)
  }
  if (hosts.size < MAX_WITNESSES) hosts.add(host.id)
  if (blob.map === undefined || blob.map.root !== root || blob.map.proven) return false
  blob.map.proven = isProven(blob, root)
  return blob.map.proven
}

/** Takes a host's map, which makes it a witness. @returns whether something is new: a map, or its proof. */
export function addMap(state: FleetState, blob: Blob, host: Host, hashes: Uint8Array): boolean {
  if (blob.layout === undefined || hashes.byteLength !== blob.layout.pieces * PIECE_HASH_BYTES) return false
  const root = Buffer.from(mapRoot(blob.digest, hashes)).toString('hex')
  if (witness(blob, host, root)) return true
  if (blob.map !== undefined && (blob.map.root === root || !isProven(blob, root))) return false
  forgetMap(state, blob)
  blob.map = { hashes: hashes.slice(), root, proven: isProven(blob, root) }
  state.maps.add(blob)
  state.mapBytes += hashes.byteLength
  for (const oldest of state.maps) {
    if (state.mapBytes <= MAX_MAP_BYTES || oldest === blob) break
    forgetMap(state, oldest)
  }
  return blob.map !== undefined
}

/** The map as it goes on the wire; marks it as used. One host's word on a blob in dispute is worth nothing. */
export function useMap(state: FleetState, blob: Blob): { hashes: Uint8Array; proven: boolean } | undefined {
  if (blob.map === undefined || (!blob.map.proven && state.trust.disputes.has(blob.digest))) return undefined
  state.maps.delete(blob)
  state.maps.add(blob)
  return { hashes: blob.map.hashes, proven: blob.map.proven }
}

export function forgetMap(state: FleetState, blob: Blob): void {
  if (blob.map === undefined) return
  state.mapBytes -= blob.map.hashes.byteLength
  state.maps.delete(blob)
  blob.map = undefined
}

function isProven(blob: Blob, root: string): boolean {
  const count = blob.witnesses.get(root)?.size ?? 0
  if (count < WITNESSES_NEEDED) return false
  for (const [other, hosts] of blob.witnesses) if (other !== root && hosts.size >= count) return false
  return true
}
