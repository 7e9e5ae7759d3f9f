/** Pieces that an idle host finds at no neighbour. */
import type { Digest } from '@layerswarm/core/digest.ts'
import { importerOf } from '@layerswarm/core/importer.ts'
import { runOf } from '@layerswarm/core/piece-layout.ts'
import { degreeOf } from '../state/facts.ts'
import type { Campaign, FleetState, Host } from '../state/model.ts'
import { dropLease, holderOf, isWaiting, putBack } from './campaign.ts'
import { draw, introduce } from './handout.ts'
import { handOut, isEligible, refillAndTell, tryHold } from './leases.ts'
import { DEGREE_HARD_CAP, ORPHAN_MS } from './limits.ts'
import { type Outbox, send } from './messages.ts'

/** Hosts named in one answer. */
const MAX_NAMED = 16

/**
 * Names a host that has the piece, or is fetching it; where that did not help a second later, or there is none, the run
 * is leased again, to the asker if it may.
 */
export function takeOrphans(state: FleetState, host: Host, digest: Digest, pieces: readonly number[], now: number, out: Outbox): void {
  const campaign = state.blobs.get(digest)?.campaign
  if (campaign === undefined || !host.wants.has(campaign.blob)) return
  const named = new Set<Host>()
  const again: number[] = []
  for (const run of new Set(pieces.map(runOf))) {
    if (run >= campaign.runs) continue
    if (isWaiting(campaign, run)) {
      // It waits for somebody with less to do, and a client waits for it.
      const holder = campaign.candidates.has(host) ? tryHold(campaign, host, now) : undefined
      if (holder !== undefined) refillAndTell(state, holder, now, out)
      continue
    }
    const at = campaign.orphaned.get(run)
    if (at !== undefined && now - at < ORPHAN_MS) continue
    campaign.orphaned.set(run, now)
    const source = sourceOf(state, campaign, host, run)
    if (source !== undefined && (at === undefined || !host.links.has(source))) named.add(source)
    else if (campaign.leased.get(run)?.holder.open.has(run) !== true) again.push(run)
  }
  const peers = introduce(
    host,
    [...named].filter((source) => host.links.has(source) || degreeOf(source) < DEGREE_HARD_CAP).slice(0, MAX_NAMED)
  )
  if (peers.length > 0) send(out, host, { t: 'peers', blob: digest, peers })
  if (again.length > 0) leaseAgain(state, campaign, host, again, now, out)
}

/** Who should have the run: who imports it for the asker's zone, its holder, whoever fetched it, or a host that holds the whole. */
function sourceOf(state: FleetState, campaign: Campaign, asker: Host, run: number): Host | undefined {
  const { digest, zones } = campaign.blob
  const fetcher = campaign.leased.get(run)?.holder.host ?? campaign.fetchedBy.get(run)
  if (fetcher !== undefined && fetcher.zone !== asker.zone) {
    const gateways = zones.get(asker.zone)?.gateways ?? []
    const importer = gateways[importerOf(digest, run, gateways.length)]?.host
    if (importer !== undefined && importer !== asker && !asker.links.has(importer)) return importer
  }
  if (fetcher !== undefined && fetcher !== asker && state.hosts.get(fetcher.id) === fetcher) return fetcher
  const near = zones.get(asker.zone)
  for (const members of near === undefined ? zones.values() : [near, ...zones.values()]) {
    const [host] = draw(state.random, members, 1, (one) => one !== asker && one.holds.has(digest) && !asker.links.has(one))
    if (host !== undefined) return host
  }
  return undefined
}

/** Queues runs once more; the asker, if it may fetch them, gets as many as a holder can have before anybody else. */
function leaseAgain(state: FleetState, campaign: Campaign, asker: Host, runs: readonly number[], now: number, out: Outbox): void {
  for (const run of runs) {
    const lease = campaign.leased.get(run)
    const before = lease?.holder.host ?? campaign.fetchedBy.get(run)
    if (lease !== undefined) dropLease(lease)
    putBack(campaign, run, before === asker ? undefined : before?.id)
  }
  const mayFetch = campaign.candidates.has(asker) || campaign.holders.has(asker)
  if (mayFetch && isEligible(campaign, asker, now)) refillAndTell(state, holderOf(campaign, asker), now, out)
  handOut(state, campaign, now, out)
}
