/**
 * Zones: peers are named only inside the asker's zone, so that a blob crosses between two zones once or twice and not
 * once per host. The first askers of a zone are its gateways: they know the gateways of all other zones, import one run
 * in so many each, and only they hold leases.
 */
import type { Gateway } from '@layerswarm/core/wire/directory-protocol.ts'
import type { Blob, FleetState, Host, Members } from '../state/model.ts'
import { draw, introduce, spansZones } from './handout.ts'
import { GATEWAYS_PER_ZONE } from './limits.ts'
import { type Outbox, send } from './messages.ts'

export function isGateway(blob: Blob, host: Host): boolean {
  return blob.zones.get(host.zone)?.gateways.includes(host) ?? false
}

/** The place to name to a gateway; undefined where the blob is in one zone only. */
export function placeOf(blob: Blob, host: Host): Gateway | undefined {
  const gateways = blob.zones.get(host.zone)?.gateways
  const number = gateways?.indexOf(host) ?? -1
  return gateways === undefined || number < 0 || !spansZones(blob) ? undefined : { number, of: gateways.length }
}

/** Makes an asker a gateway while its zone has too few. The others hear of it where that matters. */
export function offerPlace(blob: Blob, host: Host, out: Outbox): void {
  const gateways = blob.zones.get(host.zone)?.gateways
  if (gateways === undefined || gateways.length >= GATEWAYS_PER_ZONE || gateways.includes(host)) return
  gateways.push(host)
  if (spansZones(blob)) for (const members of blob.zones.values()) tellPlaces(blob, members, host, out)
}

/** Gateways of the other zones, for one of the asker's zone; a zone that only holds the blob gets some first. */
export function importsFor(state: FleetState, blob: Blob, host: Host): Host[] {
  if (!spansZones(blob) || !isGateway(blob, host)) return []
  const found: Host[] = []
  for (const [zone, members] of blob.zones) {
    if (zone === host.zone) continue
    const { gateways } = members
    if (gateways.length < GATEWAYS_PER_ZONE) {
      gateways.push(...draw(state.random, members, GATEWAYS_PER_ZONE - gateways.length, (one) => !gateways.includes(one)))
    }
    found.push(...gateways)
  }
  return found
}

/** A gateway is gone: another host of its zone takes its number and hears whom to connect to. */
export function replaceGateway(state: FleetState, blob: Blob, host: Host, out: Outbox): void {
  const members = blob.zones.get(host.zone)
  const number = members?.gateways.indexOf(host) ?? -1
  if (members === undefined || number < 0) return
  const [heir] = draw(state.random, members, 1, (one) => one !== host && !members.gateways.includes(one))
  if (heir === undefined) {
    members.gateways.splice(number, 1)
    if (spansZones(blob)) tellPlaces(blob, members, undefined, out)
    return
  }
  members.gateways[number] = heir
  const gateway = placeOf(blob, heir)
  if (gateway === undefined) return
  send(out, heir, { t: 'peers', blob: blob.digest, peers: introduce(heir, importsFor(state, blob, heir)), gateway })
}

function tellPlaces(blob: Blob, members: Members, except: Host | undefined, out: Outbox): void {
  for (const host of members.gateways) {
    const gateway = placeOf(blob, host)
    if (host === except || gateway === undefined || !host.wants.has(blob)) continue
    send(out, host, { t: 'peers', blob: blob.digest, peers: [], gateway })
  }
}
