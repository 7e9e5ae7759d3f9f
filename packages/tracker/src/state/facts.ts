import type { Digest } from '@layerswarm/core/digest.ts'
import { layoutOf } from '@layerswarm/core/piece-layout.ts'
import type { Holding } from '@layerswarm/core/wire/directory-protocol.ts'
import { FetchingHosts } from './fetching-hosts.ts'
import { IndexedSet } from './indexed-set.ts'
import { forgetMap } from './maps.ts'
import type { Blob, FleetState, Host, Members } from './model.ts'
import { createTrust } from './trust.ts'

/** Zones of a fleet: data centres, or rooms of one; far below a zone for each host. */
export const MAX_ZONES = 100

/** Most blobs remembered for one host; a full disk of small images stays well below. */
export const MAX_HOLDINGS_PER_HOST = 100_000

export interface FleetOptions {
  /** Source of all chance: 0 … 1. */
  readonly random: () => number
  readonly version?: string
  /** Serial of the first lease; larger than any of an earlier life. */
  readonly firstSerial?: number
  /** Whether an earlier life of this tracker ended with leases out. */
  readonly restarted?: boolean
}

export function createHost(id: string, seenAt: string | undefined, now: number): Host {
  return {
    id,
    seenAt,
    greeted: false,
    name: '',
    version: '',
    zone: '',
    statedZone: '',
    address: { id, addrs: [], name: '' },
    heard: now,
    statedRate: undefined,
    holds: new Map(),
    heldBytes: 0,
    wants: new Map(),
    links: new Set(),
    foreignLinks: 0,
    outstanding: 0,
    brief: { runs: 0, bytes: 0 },
    meter: { rate: undefined, since: now, bytes: 0, ahead: 0, pace: undefined, paceSince: now, paceBytes: 0, progressAt: now },
    stopping: false,
    distrusted: false
  }
}

/** The host has said where it is. A zone too many is none: what gateways say to each other grows with the square of the zones. */
export function enterZone(state: FleetState, host: Host, stated: string): void {
  host.statedZone = stated
  host.zone = stated === '' || state.zones.has(stated) || state.zones.size < MAX_ZONES ? stated : ''
  if (host.zone !== '') state.zones.set(host.zone, (state.zones.get(host.zone) ?? 0) + 1)
}

/** The host is gone: a zone without hosts leaves its place to another. */
export function leaveZone(state: FleetState, { zone }: Host): void {
  const others = (state.zones.get(zone) ?? 0) - 1
  if (others > 0) state.zones.set(zone, others)
  else state.zones.delete(zone)
}

export function blobOf(state: FleetState, digest: Digest): Blob {
  const known = state.blobs.get(digest)
  if (known !== undefined) return known
  const blob: Blob = {
    digest,
    layout: undefined,
    sizeProven: false,
    mediaType: undefined,
    scopes: new Map(),
    zones: new Map(),
    completeCount: 0,
    fetchingCount: 0,
    witnesses: new Map(),
    map: undefined,
    mapAsked: new Map(),
    mapless: new Set(),
    campaign: undefined
  }
  state.blobs.set(digest, blob)
  return blob
}

export function membersOf(blob: Blob, zone: string): Members {
  const known = blob.zones.get(zone)
  if (known !== undefined) return known
  const members: Members = { complete: new IndexedSet(), fetching: new FetchingHosts(blob), gateways: [] }
  blob.zones.set(zone, members)
  return members
}

export function isMember(blob: Blob, host: Host): boolean {
  return host.wants.has(blob) || host.holds.has(blob.digest)
}

/** Hosts that have or fetch the blob. */
export function memberCount(blob: Blob): number {
  return blob.completeCount + blob.fetchingCount
}

/** Records that `host` holds the blob whole; what it was told of it before is replaced. */
export function addHolding(state: FleetState, host: Host, holding: Holding): void {
  const before = host.holds.get(holding.digest)
  if (before === undefined && host.holds.size >= MAX_HOLDINGS_PER_HOST) return
  const blob = blobOf(state, holding.digest)
  host.holds.set(holding.digest, holding)
  host.heldBytes += holding.size - (before?.size ?? 0)
  if (before === undefined) {
    blob.completeCount++
    membersOf(blob, host.zone).complete.add(host)
  }
  for (const scope of holding.scopes ?? []) blob.scopes.set(scope, (blob.scopes.get(scope) ?? 0) + 1)
  forgetScopes(blob, before)
  blob.mediaType = holding.mediaType ?? blob.mediaType
  if (!blob.sizeProven) {
    if (blob.layout?.size !== holding.size) blob.layout = layoutOf(holding.size)
    blob.sizeProven = true
  }
}

function forgetScopes(blob: Blob, holding: Holding | undefined): void {
  for (const scope of holding?.scopes ?? []) {
    const left = (blob.scopes.get(scope) ?? 0) - 1
    if (left > 0) blob.scopes.set(scope, left)
    else blob.scopes.delete(scope)
  }
}

export function removeHolding(state: FleetState, host: Host, digest: Digest): void {
  const holding = host.holds.get(digest)
  const blob = state.blobs.get(digest)
  if (holding === undefined || blob === undefined) return
  host.holds.delete(digest)
  host.heldBytes -= holding.size
  blob.completeCount--
  blob.zones.get(host.zone)?.complete.delete(host)
  forgetScopes(blob, holding)
  tidy(state, blob, host.zone)
}

/** @returns whether that is news. */
export function addWant(blob: Blob, host: Host): boolean {
  if (host.wants.has(blob)) return false
  blob.fetchingCount++
  membersOf(blob, host.zone).fetching.add(host)
  return true
}

/** @returns whether the host wanted it. Links between hosts that fetch nothing more stop to count. */
export function removeWant(state: FleetState, blob: Blob, host: Host): boolean {
  if (blob.zones.get(host.zone)?.fetching.delete(host) !== true) return false
  blob.fetchingCount--
  blob.mapless.delete(host)
  if (host.wants.size === 0) {
    for (const other of host.links) if (other.wants.size === 0) unlink(host, other)
  }
  tidy(state, blob, host.zone)
  return true
}

/** Connections of a host that lied are not counted: nobody is to be told of it again. */
export function link(a: Host, b: Host): void {
  if (a.distrusted || b.distrusted) return
  if (a.links.has(b)) return
  a.links.add(b)
  b.links.add(a)
  countForeign(a, b, 1)
}

export function unlink(a: Host, b: Host): void {
  if (!a.links.delete(b)) return
  b.links.delete(a)
  countForeign(a, b, -1)
}

function countForeign(a: Host, b: Host, by: 1 | -1): void {
  if (a.zone === b.zone) return
  a.foreignLinks += by
  b.foreignLinks += by
}

/** Links to hosts of the same zone. */
export function degreeOf(host: Host): number {
  return host.links.size - host.foreignLinks
}

/** Forgets a zone that nobody of is left, and a blob that nobody has or fetches. */
export function tidy(state: FleetState, blob: Blob, zone: string): void {
  const members = blob.zones.get(zone)
  if (members !== undefined && members.complete.size === 0 && members.fetching.size === 0) blob.zones.delete(zone)
  if (blob.zones.size > 0 || blob.campaign !== undefined) return
  forgetMap(state, blob)
  state.blobs.delete(blob.digest)
}

/** An empty fleet. */
export function createFleet(options: FleetOptions, now: number, quietMs: number): FleetState {
  return {
    version: options.version ?? '',
    hosts: new Map(),
    zones: new Map(),
    blobs: new Map(),
    campaigns: new Set(),
    maps: new Set(),
    mapBytes: 0,
    random: options.random,
    serial: options.firstSerial ?? 1,
    startedAt: now,
    quietUntil: options.restarted ? now + quietMs : now,
    tickedAt: now,
    excusedUntil: now,
    trust: createTrust(),
    totals: { registryBytes: 0, uniqueBytes: 0, plans: 0, leasesGranted: 0, leasesTakenOver: 0, leasesReturned: 0 }
  }
}
