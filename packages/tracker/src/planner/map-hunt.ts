/** Getting piece maps from those who hold a blob whole, until one is proven. */
import type { Digest } from '@layerswarm/core/digest.ts'
import { addMap, useMap, witness } from '../state/maps.ts'
import type { Blob, FleetState, Host } from '../state/model.ts'
import { MAP_RETRY_MS, MAX_PLANNED_PIECES } from './limits.ts'
import { type Outbox, send } from './messages.ts'

/** Holders asked at the same time: as many as prove a map. */
const ASKED_AT_ONCE = 2
/** Holders looked at for one that has not been asked. */
const MAX_LOOKED_AT = 8

/** Asks holders for their map while it is not proven. A blob of one piece needs none: its digest is the hash; some maps fit no message. */
export function askForMap(state: FleetState, blob: Blob, now: number, out: Outbox): void {
  const { pieces } = blob.layout ?? { pieces: 0 }
  if (pieces <= 1 || pieces > MAX_PLANNED_PIECES || blob.map?.proven === true) return
  for (const [host, at] of blob.mapAsked) if (now - at >= MAP_RETRY_MS || !state.hosts.has(host)) blob.mapAsked.delete(host)
  for (const { complete } of blob.zones.values()) {
    const start = Math.floor(state.random() * complete.size)
    for (let i = 0; i < Math.min(complete.size, MAX_LOOKED_AT); i++) {
      if (blob.mapAsked.size >= ASKED_AT_ONCE) return
      const host = complete.at((start + i) % complete.size)
      if (host === undefined || blob.mapAsked.has(host.id)) continue
      blob.mapAsked.set(host.id, now)
      send(out, host, { t: 'wantMap', blob: blob.digest })
    }
  }
}

/** A host proved the digest with the pieces of this root. The first such host is asked for the map, the second proves it. */
export function takeRoot(state: FleetState, host: Host, blob: Blob, root: Uint8Array, now: number, out: Outbox): void {
  if (witness(blob, host, Buffer.from(root).toString('hex'))) tellMapless(state, blob, out)
  else if (blob.map === undefined) askForMap(state, blob, now, out)
}

export function takeMap(state: FleetState, host: Host, digest: Digest, hashes: Uint8Array, out: Outbox): void {
  const blob = state.blobs.get(digest)
  if (blob !== undefined && host.holds.has(digest) && addMap(state, blob, host, hashes)) tellMapless(state, blob, out)
}

function tellMapless(state: FleetState, blob: Blob, out: Outbox): void {
  for (const host of blob.mapless) sendMap(state, host, blob, out)
  if (blob.map?.proven === true) blob.mapless.clear()
}

export function sendMap(state: FleetState, host: Host, blob: Blob, out: Outbox): void {
  const map = useMap(state, blob)
  if (map === undefined || blob.layout === undefined) return
  send(out, host, { t: 'map', blob: blob.digest, size: blob.layout.size, map })
}
