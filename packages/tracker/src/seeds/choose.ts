/** Which hosts a seed goes to. */
import { createHash } from 'node:crypto'
import { parseHostChoice } from '@layerswarm/core/api/seed-api.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { ABSENT_MS, type KnownHost, type SeedSpec } from './model.ts'

/** One for all: a comparison that makes its own takes so long that a fleet of ten thousand would hold the tracker up. */
const BY_NAME = new Intl.Collator('en', { numeric: true })

/** A host, or a name that none has. */
export type Chosen = Pick<KnownHost, 'name' | 'zone'> & { readonly id: string | undefined }

/**
 * Hosts that left lately count in `all` and in zones, so that one that is down is told; a number of hosts is taken from
 * those that are connected, or will be as soon as they have found out that the tracker was started again.
 * @param known connected, or left so lately that they are expected back
 * @throws {LayerswarmError} HOSTS_INVALID, HOSTS_UNKNOWN when there are none or fewer than asked for
 */
export function chooseHosts(spec: SeedSpec, known: Iterable<KnownHost>, now: number): Chosen[] {
  const { names, zones, limit } = parseHostChoice(spec.hosts)
  const hosts = [...known]
  const chosen = new Map<string, Chosen>()
  for (const host of hosts) {
    const meant = names.length + zones.length === 0 || zones.includes(host.zone) || names.includes(host.name) || names.includes(host.id)
    if (meant && (limit === undefined || isThere(host, now))) chosen.set(host.id, host)
  }
  if (limit === undefined) {
    for (const name of names) {
      if (!hosts.some((host) => host.name === name || host.id === name)) chosen.set(name, { id: undefined, name, zone: '' })
    }
    if (chosen.size === 0) throw new LayerswarmError('HOSTS_UNKNOWN', { detail: spec.hosts.join(', ') })
    return [...chosen.values()].sort((a, b) => order(a.name, b.name))
  }
  const wanted = 'count' in limit ? limit.count : Math.ceil((chosen.size * limit.percent) / 100)
  if (chosen.size === 0 || wanted > chosen.size) {
    throw new LayerswarmError('HOSTS_UNKNOWN', { detail: `${spec.hosts.join(', ')}: ${chosen.size} are connected` })
  }
  return acrossZones(spec.image, [...chosen.values()])
    .slice(0, wanted)
    .sort((a, b) => order(a.name, b.name))
}

function isThere({ leftAt, expected }: KnownHost, now: number): boolean {
  return leftAt === undefined || (expected && now - leftAt < ABSENT_MS)
}

/**
 * The same image prefers the same hosts each time, another one others; as many of each zone as there are.
 */
function acrossZones(image: string, hosts: readonly Chosen[]): Chosen[] {
  const rank = new Map(hosts.map((host) => [host, rankOf(image, host.id ?? host.name)]))
  const ranked = [...hosts].sort((a, b) => order(rank.get(a) ?? '', rank.get(b) ?? ''))
  const taken = new Map<string, number>()
  const round = new Map<Chosen, number>()
  for (const host of ranked) {
    const before = taken.get(host.zone) ?? 0
    taken.set(host.zone, before + 1)
    round.set(host, before)
  }
  return ranked.sort((a, b) => (round.get(a) ?? 0) - (round.get(b) ?? 0))
}

function rankOf(image: string, host: string): string {
  return createHash('sha256').update(`${image}\n${host}`).digest('hex')
}

/** By name, host-2 before host-10. */
function order(a: string, b: string): number {
  return BY_NAME.compare(a, b)
}
