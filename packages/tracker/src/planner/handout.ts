/**
 * Which hosts are named to which. Drawn uniformly from all that have or fetch the content: naming "the newest" or "the
 * nearest" makes the mesh a long line, and the first piece then takes twice as long to reach the last host.
 */
import type { PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import { degreeOf, isMember, link } from '../state/facts.ts'
import type { Blob, FleetState, Host, Members } from '../state/model.ts'

/** Sets up to this size are shuffled; larger ones are probed, where a miss is rare. */
const SHUFFLE_UP_TO = 48
/** Random probes into a large set: enough unless most of it is at the cap. */
const MAX_PROBES = 64

/** Up to `count` different hosts of `members`, each one as likely as the other, that `fits`; never one that lied. */
export function draw(random: () => number, members: Members, count: number, fits: (host: Host) => boolean): Host[] {
  const { complete, fetching } = members
  const size = complete.size + fetching.size
  const at = (place: number): Host | undefined => (place < complete.size ? complete.at(place) : fetching.at(place - complete.size))
  const drawn: Host[] = []
  if (size <= SHUFFLE_UP_TO) {
    const places = Array.from({ length: size }, (_, place) => place)
    for (let left = size; left > 0 && drawn.length < count; left--) {
      const pick = Math.floor(random() * left)
      const host = at(places[pick] as number)
      places[pick] = places[left - 1] as number
      if (host !== undefined && !host.distrusted && fits(host) && !drawn.includes(host)) drawn.push(host)
    }
    return drawn
  }
  for (let probe = 0; probe < MAX_PROBES && drawn.length < count; probe++) {
    const host = at(Math.floor(random() * size))
    if (host !== undefined && !host.distrusted && !drawn.includes(host) && fits(host)) drawn.push(host)
  }
  return drawn
}

/**
 * Draws neighbours for a host that fetches `blobs`: of the zone, below `cap` connections, not linked yet. Large blobs need
 * most of them, so each draw is for one blob, by its share of the bytes; then every blob gets somebody who has or fetches it.
 */
export function drawPeers(state: FleetState, asker: Host, blobs: readonly Blob[], count: number, cap: number): Host[] {
  const fits = (host: Host): boolean => host !== asker && degreeOf(host) < cap && !asker.links.has(host)
  const pools: { blob: Blob; members: Members; upTo: number }[] = []
  let weight = 0
  for (const blob of blobs) {
    const members = blob.zones.get(asker.zone)
    if (members === undefined) continue
    weight += 1 + (blob.layout?.size ?? 0)
    pools.push({ blob, members, upTo: weight })
  }
  const drawn: Host[] = []
  const fresh = (host: Host): boolean => fits(host) && !drawn.includes(host)
  if (pools.length === 1 && pools[0] !== undefined) return draw(state.random, pools[0].members, count, fits)
  const idle = new Set<Members>()
  for (let i = 0; i < count && idle.size < pools.length; i++) {
    const ticket = state.random() * weight
    const pool = pools[firstAbove(pools, ticket)]
    if (pool === undefined || idle.has(pool.members)) continue
    const [host] = draw(state.random, pool.members, 1, fresh)
    if (host === undefined) idle.add(pool.members)
    else drawn.push(host)
  }
  for (const { blob, members } of pools) {
    if (drawn.length >= 2 * count) break
    if (idle.has(members) || drawn.some((host) => isMember(blob, host)) || coveredByLinks(asker, blob)) continue
    drawn.push(...draw(state.random, members, 1, fresh))
  }
  return drawn
}

function coveredByLinks(asker: Host, blob: Blob): boolean {
  for (const host of asker.links) if (isMember(blob, host)) return true
  return false
}

function firstAbove(pools: readonly { upTo: number }[], ticket: number): number {
  let low = 0
  let high = pools.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((pools[middle]?.upTo ?? 0) > ticket) high = middle
    else low = middle + 1
  }
  return low
}

/** Counts the connections that naming `hosts` to `asker` makes, and puts them as they go on the wire. */
export function introduce(asker: Host, hosts: Iterable<Host>): PeerAddress[] {
  const peers: PeerAddress[] = []
  for (const host of hosts) {
    link(asker, host)
    peers.push(addressFor(asker, host))
  }
  return peers
}

export function addressFor(asker: Host, host: Host): PeerAddress {
  return host.zone === asker.zone ? host.address : { ...host.address, zone: host.zone }
}

/** Whether hosts of another zone have or fetch the blob too. */
export function spansZones(blob: Blob): boolean {
  return blob.zones.size > 1
}
