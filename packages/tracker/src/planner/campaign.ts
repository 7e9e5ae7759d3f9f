/** The registry side of one blob: which runs wait, which are leased to whom, which are done. Bookkeeping only; the rules are in leases.ts. */
import { bytesOfRun, type PieceLayout, piecesOfRun, RUN_PIECES, runCount } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import { Candidates } from '../state/candidates.ts'
import type { Blob, Campaign, FleetState, Holder, Host, LeasedRun } from '../state/model.ts'
import { type Dispute, noteAuthor } from '../state/trust.ts'
import { HOLDERS_PER_BLOB, RUNS_OUT_PER_BLOB } from './limits.ts'
import type { UnsignedLease } from './messages.ts'

/** Run times kept for the median. */
const RUN_TIMES = 15

/** Starts to hand out the runs of a blob whose size is known. When somebody holds it whole there is nothing to hand out. */
export function startCampaign(state: FleetState, blob: Blob, layout: PieceLayout): Campaign {
  const runs = runCount(layout)
  const campaign: Campaign = {
    blob,
    layout,
    runs,
    next: blob.completeCount > 0 ? runs : 0,
    returned: [],
    leased: new Map(),
    known: new PieceSet(layout.pieces),
    fetched: new PieceSet(layout.pieces),
    holders: new Map(),
    candidates: new Candidates(blob),
    barred: new Set(),
    slow: new Set(),
    late: new Set(),
    failures: new Map(),
    pausedUntil: new Map(),
    silenced: new Map(),
    statedRates: [],
    limit: HOLDERS_PER_BLOB,
    ranged: true,
    runTimes: [],
    medianRunTime: 0,
    fetchedBy: new Map(),
    dispute: undefined,
    orphaned: new Map()
  }
  blob.campaign = campaign
  state.campaigns.add(campaign)
  const dispute = state.trust.disputes.get(blob.digest)
  if (dispute?.openedBy !== undefined) queueAgain(campaign, dispute)
  return campaign
}

export function endCampaign(state: FleetState, campaign: Campaign): void {
  for (const holder of campaign.holders.values()) for (const run of holder.open.keys()) countOut(holder, run, -1)
  state.campaigns.delete(campaign)
  campaign.blob.campaign = undefined
}

/** Has every run leased once more, but for those under way, each to a host that has not fetched it yet. */
export function queueAgain(campaign: Campaign, dispute: Dispute): void {
  campaign.dispute = dispute
  for (const [run, host] of campaign.fetchedBy) noteAuthor(dispute, run, host.id)
  for (let run = 0; run < campaign.runs; run++) {
    const lease = campaign.leased.get(run)
    if (lease?.holder.open.has(run) === true) continue
    if (lease !== undefined) dropLease(lease)
    putBack(campaign, run, [...(dispute.authors.get(run) ?? [])].at(-1))
  }
  campaign.next = campaign.runs
}

/** Whether what nobody has a lease for must come from the registry: nobody has it whole, or nobody knows who has it right. */
export function needsRegistry(campaign: Campaign): boolean {
  return campaign.blob.completeCount === 0 || campaign.dispute !== undefined
}

/** Holders that may be given more. In a dispute one that has nothing to do may be barred from all that waits. */
export function activeHolders(campaign: Campaign): number {
  let count = 0
  for (const { retired, open } of campaign.holders.values()) {
    if (!retired && (campaign.dispute === undefined || open.size > 0)) count++
  }
  return count
}

/** Runs that nobody has a lease for. Runs known to be somewhere are counted too: they are few. */
export function waitingRuns(campaign: Campaign): number {
  return campaign.returned.length + campaign.runs - campaign.next
}

/** The run that goes to `host` next, taken off the queue. */
export function takeRun(campaign: Campaign, host: Host): { run: number; instead: string | undefined } | undefined {
  const place = campaign.returned.findIndex(({ run }) => campaign.dispute?.authors.get(run)?.has(host.id) !== true)
  if (place >= 0) return campaign.returned.splice(place, 1)[0]
  while (campaign.next < campaign.runs) {
    const run = campaign.next++
    if (!campaign.leased.has(run) && !isKnown(campaign, run)) return { run, instead: undefined }
  }
  return undefined
}

/** Takes run 0 if it was never leased. */
export function takeFirstRun(campaign: Campaign): { run: number; instead: undefined } | undefined {
  if (campaign.next !== 0 || campaign.leased.has(0) || isKnown(campaign, 0)) return undefined
  campaign.next = 1
  return { run: 0, instead: undefined }
}

/** Puts a run at its place among those that go out before all never leased. */
export function putBack(campaign: Campaign, run: number, instead: string | undefined): void {
  const { returned } = campaign
  let place = returned.length
  while (place > 0 && (returned[place - 1]?.run ?? 0) > run) place--
  if (place > 0 && returned[place - 1]?.run === run) return
  returned.splice(place, 0, { run, instead })
}

export function isWaiting(campaign: Campaign, run: number): boolean {
  return run >= campaign.next || campaign.returned.some((entry) => entry.run === run)
}

function isKnown(campaign: Campaign, run: number): boolean {
  const { first, count } = piecesOfRun(campaign.layout, run)
  return campaign.known.firstMissing(first) >= first + count
}

/** Bits of all pieces of `run`. */
export function allPieces(campaign: Campaign, run: number): number {
  return 2 ** Math.min(RUN_PIECES, campaign.layout.pieces - run * RUN_PIECES) - 1
}

export function runBytes(campaign: Campaign, run: number): number {
  const { start, end } = bytesOfRun(campaign.layout, piecesOfRun(campaign.layout, run))
  return end - start
}

export function holderOf(campaign: Campaign, host: Host): Holder {
  const known = campaign.holders.get(host)
  if (known !== undefined) return known
  const holder: Holder = { host, campaign, open: new Map(), fetched: new Map(), pausedUntil: 0, fetchedAt: 0, retired: false }
  campaign.holders.set(host, holder)
  campaign.candidates.delete(host)
  return holder
}

/** Whether all runs of the blob may be out at once. */
export function isBrief(campaign: Campaign): boolean {
  return campaign.runs <= RUNS_OUT_PER_BLOB
}

function countOut({ campaign, host }: Holder, run: number, by: 1 | -1): void {
  host.outstanding += by
  if (!isBrief(campaign)) return
  host.brief.runs += by
  host.brief.bytes += by * runBytes(campaign, run)
}

export function addLease(holder: Holder, run: number, serial: number, instead: string | undefined, now: number): LeasedRun {
  const lease: LeasedRun = { run, holder, serial, instead, since: now, progressAt: now, got: 0, spread: 0 }
  const { host } = holder
  if (host.outstanding === 0)
    Object.assign(host.meter, { since: now, bytes: 0, ahead: 0, pace: undefined, paceSince: now, paceBytes: 0, progressAt: now })
  holder.open.set(run, lease)
  holder.campaign.leased.set(run, lease)
  countOut(holder, run, 1)
  return lease
}

/** The lease is over. Whether the run goes out again is the caller's question. */
export function dropLease(lease: LeasedRun): void {
  const { holder, run } = lease
  if (holder.open.delete(run)) countOut(holder, run, -1)
  holder.fetched.delete(run)
  if (holder.campaign.leased.get(run) === lease) holder.campaign.leased.delete(run)
}

/** All pieces of the run have arrived at its holder. */
export function markFetched(lease: LeasedRun, now: number): void {
  const { holder, run } = lease
  if (!holder.open.delete(run)) return
  countOut(holder, run, -1)
  holder.fetched.set(run, lease)
  holder.campaign.fetchedBy.set(run, holder.host)
  if (holder.campaign.dispute !== undefined) noteAuthor(holder.campaign.dispute, run, holder.host.id)
  const { runTimes } = holder.campaign
  runTimes.push(now - Math.max(lease.since, holder.fetchedAt))
  holder.fetchedAt = now
  if (runTimes.length > RUN_TIMES) runTimes.shift()
  holder.campaign.medianRunTime = medianOf(runTimes)
}

/** The upper median; 0 of nothing. */
export function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

export function toWire(campaign: Campaign, lease: LeasedRun): UnsignedLease {
  return {
    blob: campaign.blob.digest,
    run: lease.run,
    holder: lease.holder.host.id,
    serial: lease.serial,
    ...(lease.instead === undefined || lease.instead === lease.holder.host.id ? {} : { instead: lease.instead })
  }
}
