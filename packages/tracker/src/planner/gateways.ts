/**
 * Zones: peers are named only inside the asker's zone, so that a blob crosses between two zones once or twice and not
 * once per host. The first askers of a zone are its gateways: they know the gateways of all other zones, import one run
 * in so many each, and only they hold leases.
 */
import type { Gateway, PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import type { Blob, FleetState, GatewayPlace, Host, Members } from '../state/model.ts'
import { draw, introduce, spansZones } from './handout.ts'
import { GATEWAYS_PER_ZONE, MAX_IMPORT_LINKS, SILENT_MS } from './limits.ts'
import { type Outbox, send } from './messages.ts'

function numberOf(members: Members | undefined, host: Host): number {
  return members?.gateways.findIndex((place) => place.host === host) ?? -1
}

export function isGateway(blob: Blob, host: Host): boolean {
  return numberOf(blob.zones.get(host.zone), host) >= 0
}

/** The place to name to a gateway; undefined where the blob is in one zone only. */
export function placeOf(blob: Blob, host: Host): Gateway | undefined {
  const members = blob.zones.get(host.zone)
  const number = numberOf(members, host)
  return members === undefined || number < 0 || !spansZones(blob) ? undefined : { number, of: members.gateways.length }
}

/** Makes an asker a gateway while its zone has too few. The others hear of it where that matters. */
export function offerPlace(blob: Blob, host: Host, now: number, out: Outbox): void {
  const members = blob.zones.get(host.zone)
  if (members === undefined || members.gateways.length >= GATEWAYS_PER_ZONE || isGateway(blob, host) || host.distrusted) return
  members.gateways.push({ host, since: now })
  if (spansZones(blob)) present(blob, host, out)
}

/** The other gateways, for one of them: of its own zone too. A zone that only holds the blob gets some first. */
export function importsFor(state: FleetState, blob: Blob, host: Host, now: number): Host[] {
  const number = numberOf(blob.zones.get(host.zone), host)
  if (!spansZones(blob) || number < 0) return []
  const found: Host[] = []
  for (const [zone, members] of blob.zones) {
    const { gateways } = members
    if (zone === host.zone) {
      found.push(...gateways.flatMap((place) => (place.host === host ? [] : place.host)))
      continue
    }
    if (gateways.length < GATEWAYS_PER_ZONE) {
      const more = draw(state.random, members, GATEWAYS_PER_ZONE - gateways.length, (one) => numberOf(members, one) < 0)
      gateways.push(...more.map((one) => ({ host: one, since: now })))
    }
    found.push(...linkedFrom(blob, number, gateways))
  }
  return found.slice(0, MAX_IMPORT_LINKS)
}

/** Those of another zone's gateways that number `number` of a zone is connected to: all, unless there are many zones. */
function linkedFrom(blob: Blob, number: number, gateways: readonly GatewayPlace[]): Host[] {
  const count = Math.max(1, Math.min(gateways.length, Math.floor(MAX_IMPORT_LINKS / (blob.zones.size - 1))))
  return Array.from({ length: count }, (_, i) => gateways[(number + i) % gateways.length]?.host).filter((host) => host !== undefined)
}

/**
 * Names a new gateway to the others: to those of other zones with its zone, for they must not take it for one of their
 * own; to those of its own because most of what enters the zone does so by one of them.
 */
function present(blob: Blob, host: Host, out: Outbox): void {
  const number = numberOf(blob.zones.get(host.zone), host)
  for (const [zone, { gateways }] of blob.zones) {
    const linked = zone === host.zone ? gateways.map((place) => place.host) : linkedFrom(blob, number, gateways)
    for (const { host: other } of gateways) {
      if (other !== host) tellPlace(blob, other, linked.includes(other) ? introduce(other, [host]) : [], out)
    }
  }
}

/** A gateway is gone: another host of its zone takes its number and hears whom to connect to. */
export function replaceGateway(state: FleetState, blob: Blob, host: Host, now: number, out: Outbox): void {
  const members = blob.zones.get(host.zone)
  const number = numberOf(members, host)
  if (members === undefined || number < 0) return
  const [heir] = draw(state.random, members, 1, (one) => one !== host && numberOf(members, one) < 0)
  if (heir === undefined) {
    members.gateways.splice(number, 1)
    for (const place of members.gateways) tellPlace(blob, place.host, [], out)
    return
  }
  members.gateways[number] = { host: heir, since: now }
  if (!spansZones(blob)) return
  tellPlace(blob, heir, introduce(heir, importsFor(state, blob, heir, now)), out)
  present(blob, heir, out)
}

/** Replaces gateways that fetch the blob and say nothing, or have let it go: nobody else imports their runs. */
export function watchGateways(state: FleetState, blob: Blob, now: number, out: Outbox): void {
  if (!spansZones(blob) || now < state.excusedUntil) return
  for (const members of blob.zones.values()) {
    for (const { host, since } of [...members.gateways]) {
      const heirs = members.complete.size + members.fetching.size - members.gateways.length
      const silent = now - Math.max(host.heard, since) > SILENT_MS
      if (host.holds.has(blob.digest) || (host.wants.has(blob) && (!silent || heirs <= 0))) continue
      replaceGateway(state, blob, host, now, out)
      const of = members.gateways.length
      // A number beyond the last: it imports nothing, should it come back.
      send(out, host, { t: 'peers', blob: blob.digest, peers: [], gateway: { number: of, of } })
    }
  }
}

/** One that holds the blob imports nothing and need not know. */
function tellPlace(blob: Blob, host: Host, peers: PeerAddress[], out: Outbox): void {
  const gateway = placeOf(blob, host)
  if (gateway !== undefined && host.wants.has(blob)) send(out, host, { t: 'peers', blob: blob.digest, peers, gateway })
}
