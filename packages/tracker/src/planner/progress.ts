/** What holders report, and what follows when they do not. */
import { pieceLength, RUN_PIECES, runOf } from '@layerswarm/core/piece-layout.ts'
import type { AgentMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import { memberCount } from '../state/facts.ts'
import type { Campaign, FleetState, Holder, Host, LeasedRun, Meter } from '../state/model.ts'
import { allPieces, dropLease, holderOf, isBrief, markFetched, runBytes } from './campaign.ts'
import { dismiss, giveUp, handOut, isBusy, isEligible, medianPace, refillAndTell, tryHold } from './leases.ts'
import {
  FIRST_PLAN_RUNS,
  LATE_FACTOR,
  LATE_MAX_MS,
  LATE_MIN_MS,
  LEASE_AHEAD_MS,
  MAX_SILENT_MS,
  PACE_MS,
  PAUSE_MS,
  SILENT_MS,
  SLOW_HOLDER_SHARE,
  TICK_MS
} from './limits.ts'
import type { Outbox } from './messages.ts'

/** When no holder gets anything, runs are late only after this many times the usual bound. */
const REGISTRY_PATIENCE = 4

type Report = Extract<AgentMessage, { t: 'report' }>

export function takeReport(state: FleetState, host: Host, report: Report, now: number, out: Outbox): void {
  state.totals.registryBytes += report.bytes
  const campaign = state.blobs.get(report.blob)?.campaign
  if (campaign === undefined) return
  if (report.whole === true && host.wants.has(campaign.blob) && !host.distrusted) streamWhole(state, campaign, host, out)
  let gotBytes = 0
  for (const piece of report.got) {
    if (piece >= campaign.layout.pieces) continue
    gotBytes += pieceLength(campaign.layout, piece)
    if (campaign.fetched.add(piece)) state.totals.uniqueBytes += pieceLength(campaign.layout, piece)
    const lease = campaign.leased.get(runOf(piece))
    if (lease?.holder.host !== host) continue
    lease.got |= bitOf(piece)
    lease.progressAt = now
  }
  measure(host, countOnce(host.meter, report.bytes, gotBytes), now)
  if (report.bytes > 0) moveOldest(campaign, host, now)
  settle(campaign, host, report, now)
  const holder = campaign.holders.get(host)
  if (holder !== undefined) refillAndTell(state, holder, now, out)
  else if (host.wants.has(campaign.blob) && isEligible(campaign, host, now) && report.got.length > 0) campaign.candidates.add(host)
  startMore(state, host, now, out)
}

/** Layers whose run 0 nobody has yet: the host gets them as it works off those that it has, in the image's order. */
function startMore(state: FleetState, host: Host, now: number, out: Outbox): void {
  for (const { campaign } of host.wants.keys()) {
    if (campaign === undefined || campaign.next > 0 || !campaign.candidates.has(host)) continue
    if (isBrief(campaign) ? isBusy(campaign, host) : host.outstanding >= FIRST_PLAN_RUNS) continue
    const holder = tryHold(campaign, host, now)
    if (holder !== undefined) refillAndTell(state, holder, now, out)
  }
}

function bitOf(piece: number): number {
  return 1 << (piece % RUN_PIECES)
}

/** Closes runs that are fetched, and forgets those of which every piece is with somebody else too. */
function settle(campaign: Campaign, host: Host, report: Report, now: number): void {
  for (const piece of report.spread) {
    const lease = campaign.leased.get(runOf(piece))
    if (lease?.holder.host === host) lease.spread |= bitOf(piece)
  }
  for (const run of new Set([...report.got, ...report.spread].map(runOf))) {
    const lease = campaign.leased.get(run)
    if (lease?.holder.host !== host) continue
    const all = allPieces(campaign, run)
    if ((lease.got & all) !== all) continue
    markFetched(lease, now)
    if ((lease.spread & all) === all) dropLease(lease)
  }
}

/** Bytes without a whole piece are progress too: of the run that the holder streams, its oldest. */
function moveOldest(campaign: Campaign, host: Host, now: number): void {
  const [oldest] = campaign.holders.get(host)?.open.values() ?? []
  if (oldest !== undefined) oldest.progressAt = now
}

/** What is new of `bytes` from the registry and of whole pieces: of slow ones the bytes are reported before they are whole. */
function countOnce(meter: Meter, bytes: number, gotBytes: number): number {
  const known = Math.min(meter.ahead, Math.max(0, gotBytes - bytes))
  meter.ahead += Math.max(0, bytes - gotBytes) - known
  return Math.max(bytes, gotBytes) - known
}

/** The first window is short, so that a new holder is not kept at its first runs for long. */
function measure(host: Host, bytes: number, now: number): void {
  const { meter } = host
  if (bytes === 0) return
  meter.bytes += bytes
  meter.paceBytes += bytes
  meter.progressAt = now
  const elapsed = now - meter.since
  if (elapsed < (meter.rate === undefined ? TICK_MS / 2 : LEASE_AHEAD_MS)) return
  const rate = (meter.bytes * 1000) / elapsed
  meter.rate = meter.rate === undefined ? rate : (meter.rate + rate) / 2
  meter.since = now
  meter.bytes = 0
}

/** The registry ignores Range: the first host that says so streams everything, the others leave the registry alone. */
function streamWhole(state: FleetState, campaign: Campaign, host: Host, out: Outbox): void {
  if (!campaign.ranged) return
  campaign.ranged = false
  for (const holder of [...campaign.holders.values()]) if (holder.host !== host) dismiss(state, holder, out, true)
  holderOf(campaign, host)
}

/** Looks for holders that are silent, stuck or slow, and gives their runs to others. */
export function watchHolders(state: FleetState, campaign: Campaign, now: number, out: Outbox): void {
  if (now >= state.excusedUntil && memberCount(campaign.blob) > 1) {
    for (const holder of [...campaign.holders.values()]) {
      if (holder.open.size + holder.fetched.size === 0) {
        if (holder.retired) campaign.holders.delete(holder.host)
        continue
      }
      if (isSilent(holder, now)) {
        campaign.silenced.set(holder.host.id, holder.host.heard)
        dismiss(state, holder, out, true)
        campaign.candidates.add(holder.host)
      } else if (isTooSlow(holder, now)) {
        campaign.slow.add(holder.host.id)
        giveUp(state, [...holder.open.values()], out, true)
        holder.retired = true
        campaign.candidates.add(holder.host)
      } else takeLate(state, holder, now, out)
    }
  }
  handOut(state, campaign, now, out)
}

/**
 * A holder with nothing left to fetch is waited for longer: what it has may reach a neighbour any moment, while fetching
 * it again surely costs a copy.
 */
function isSilent(holder: Holder, now: number): boolean {
  const { campaign, host, open } = holder
  if (open.size === 0) return now - host.heard > MAX_SILENT_MS
  let since = host.heard
  for (const lease of open.values()) since = Math.max(since, lease.since)
  return now - since > Math.min(MAX_SILENT_MS, Math.max(SILENT_MS, campaign.medianRunTime / 2))
}

function isTooSlow({ campaign, host, open }: Holder, now: number): boolean {
  const pace = paceOf(host.meter, now)
  const median = medianPace(campaign)
  return open.size > 0 && pace !== undefined && median !== undefined && pace < median * SLOW_HOLDER_SHARE
}

/** Ends the window that the pace is taken over, if it is over. */
function paceOf(meter: Meter, now: number): number | undefined {
  const elapsed = now - meter.paceSince
  if (elapsed < PACE_MS) return meter.pace
  meter.pace = (meter.paceBytes * 1000) / elapsed
  meter.paceSince = now
  meter.paceBytes = 0
  return meter.pace
}

/** Runs that stand still for much longer than all of the holder's open runs should take; nobody else to take them: none. */
function takeLate(state: FleetState, holder: Holder, now: number, out: Outbox): void {
  const { campaign, host } = holder
  if (campaign.holders.size < 2 && campaign.candidates.size === 0) return
  const rate = host.meter.rate ?? host.statedRate
  const expected = rate === undefined || rate === 0 ? 0 : (host.outstanding * runBytes(campaign, 0) * 1000) / rate
  const bound = Math.max(LATE_MIN_MS, LATE_FACTOR * campaign.medianRunTime, Math.min(LATE_MAX_MS, LATE_FACTOR * expected))
  const idleFor = now - Math.max(...[...campaign.holders.keys()].map((one) => one.meter.progressAt))
  // Nobody gets anything: that is the registry, and other hosts would only ask it for the same again.
  if (campaign.holders.size > 1 && idleFor > bound && idleFor < REGISTRY_PATIENCE * bound) return
  const late: LeasedRun[] = []
  for (const lease of holder.open.values()) {
    // While the host gets on with other runs and its rate is unknown, a run may simply be waiting its turn.
    const moved = rate === undefined ? Math.max(lease.progressAt, host.meter.progressAt) : lease.progressAt
    if (now - moved > bound) late.push(lease)
  }
  if (late.length === 0) return
  giveUp(state, late, out, true)
  holder.pausedUntil = now + PAUSE_MS
}
