/**
 * Who fetches what from the registry. Each byte is to leave it once: a run has one live holder, and goes to another only
 * when that one is given up. A holder keeps a run until a peer has announced all of it, since what nobody else has is
 * lost with its holder.
 */
import type { Campaign, FleetState, Holder, Host, LeasedRun } from '../state/model.ts'
import {
  activeHolders,
  addLease,
  dropLease,
  holderOf,
  isBrief,
  medianOf,
  needsRegistry,
  putBack,
  runBytes,
  takeFirstRun,
  takeRun,
  toWire,
  waitingRuns
} from './campaign.ts'
import { isGateway } from './gateways.ts'
import { spansZones } from './handout.ts'
import {
  ALIVE_MS,
  FIRST_PLAN_RUNS,
  FIRST_RUNS,
  LEASE_AHEAD_MS,
  LEASE_LONGEST_MS,
  MAX_FAILURES,
  MAX_RUNS_PER_HOLDER,
  MAX_STATED_RATES,
  PAUSE_MS,
  RUNS_OUT_PER_BLOB,
  SLOW_LINK_SHARE
} from './limits.ts'
import { type Outbox, send } from './messages.ts'

/** Askers looked at for a new holder at a time. */
const MAX_LOOKED_AT = 64

/** How many runs the holder should have open, by what it fetches in LEASE_AHEAD_MS. */
export function targetOf(holder: Holder): number {
  const { campaign, host } = holder
  if (host.meter.rate === undefined) return FIRST_RUNS
  const ahead = Math.ceil((host.meter.rate * LEASE_AHEAD_MS) / 1000 / runBytes(campaign, 0))
  const share = Math.ceil(RUNS_OUT_PER_BLOB / Math.max(1, campaign.holders.size))
  const inTime = FIRST_RUNS + Math.floor((host.meter.rate * LEASE_LONGEST_MS) / 1000 / runBytes(campaign, 0))
  const floor = Math.max(FIRST_RUNS, Math.min(share, inTime))
  return Math.min(MAX_RUNS_PER_HOLDER, Math.max(floor, ahead))
}

/**
 * Leases more runs to a holder, as many as it is short of and as is its share of what waits.
 * Rates are of the host, so runs of all its blobs count; each blob keeps at least the first ones going.
 */
export function refill(state: FleetState, holder: Holder, now: number): LeasedRun[] {
  const { campaign, host } = holder
  if (now < state.quietUntil || now < holder.pausedUntil || holder.retired || host.stopping) return []
  const waiting = waitingRuns(campaign)
  if (waiting === 0) return []
  const target = targetOf(holder)
  const short = Math.max(target - host.outstanding, FIRST_RUNS - holder.open.size)
  const share = Math.ceil(waiting / Math.max(1, campaign.holders.size))
  const leases: LeasedRun[] = []
  for (let left = Math.min(short, share, target - holder.open.size); left > 0; left--) {
    const entry = takeRun(campaign, host)
    if (entry === undefined) break
    leases.push(grant(state, holder, entry, now))
  }
  return leases
}

/** Run 0 of a layer, so that no reader waits for its first byte behind another layer. */
export function grantFirst(state: FleetState, holder: Holder, now: number): LeasedRun | undefined {
  if (now < state.quietUntil || now < holder.pausedUntil) return undefined
  const entry = takeFirstRun(holder.campaign)
  return entry === undefined ? undefined : grant(state, holder, entry, now)
}

/** The rest of a plan: few runs of many layers, as long as the host has not too many already. */
export function refillPlanned(state: FleetState, holder: Holder, now: number): void {
  if (holder.open.size === 0 || holder.host.outstanding < FIRST_PLAN_RUNS) refill(state, holder, now)
}

function grant(state: FleetState, holder: Holder, entry: { run: number; instead: string | undefined }, now: number): LeasedRun {
  state.totals.leasesGranted++
  return addLease(holder, entry.run, state.serial++, entry.instead, now)
}

/** Refills and tells the holder. @returns whether it got anything. */
export function refillAndTell(state: FleetState, holder: Holder, now: number, out: Outbox): boolean {
  const leases = refill(state, holder, now)
  if (leases.length === 0) return false
  const { campaign } = holder
  send(out, holder.host, {
    t: 'leases',
    blob: campaign.blob.digest,
    grant: leases.map((lease) => toWire(campaign, lease)),
    revoke: []
  })
  return true
}

/** Whether the host may ever fetch this blob from the registry. */
export function isEligible(campaign: Campaign, host: Host, now: number): boolean {
  if (host.stopping || host.distrusted || campaign.barred.has(host.id)) return false
  if ((campaign.pausedUntil.get(host.id) ?? 0) > now) return false
  if (host.heard <= (campaign.silenced.get(host.id) ?? -1)) return false
  return !spansZones(campaign.blob) || isGateway(campaign.blob, host)
}

export function isSlow(campaign: Campaign, host: Host): boolean {
  if (campaign.slow.has(host.id)) return true
  const median = campaign.statedRates[campaign.statedRates.length >> 1]
  return host.statedRate !== undefined && median !== undefined && host.statedRate < median * SLOW_LINK_SHARE
}

/** Makes the host a holder if there is place for one more and something to fetch. */
export function tryHold(campaign: Campaign, host: Host, now: number): Holder | undefined {
  const known = campaign.holders.get(host)
  if (known !== undefined) return known.retired ? undefined : known
  if (activeHolders(campaign) >= placesOf(campaign) || waitingRuns(campaign) === 0) return undefined
  if (!isEligible(campaign, host, now) || isSlow(campaign, host)) return undefined
  if (campaign.late.has(host.id) && activeHolders(campaign) > 0) return undefined
  return holderOf(campaign, host)
}

/**
 * Whether a brief blob had better wait for another host: this one has of such blobs what it fetches in LEASE_AHEAD_MS.
 * With more, the first that asks for an image of small layers would fetch all of it, and the others wait for its uplink.
 * Runs of long blobs do not count, else small layers would wait until those are through.
 */
export function isBusy(campaign: Campaign, { brief, meter }: Host): boolean {
  if (!isBrief(campaign) || brief.runs < FIRST_PLAN_RUNS) return false
  return meter.rate === undefined || brief.bytes >= (meter.rate * LEASE_AHEAD_MS) / 1000
}

/** Fills places of holders from those who asked, oldest first; a slow host only where there is no other at all. */
export function promote(state: FleetState, campaign: Campaign, now: number, out: Outbox): void {
  if (now < state.quietUntil) return
  let slow: Host | undefined
  let busy = false
  let looked = 0
  for (const host of campaign.candidates) {
    if (waitingRuns(campaign) === 0 || activeHolders(campaign) >= placesOf(campaign) || ++looked > MAX_LOOKED_AT) return
    if (!isEligible(campaign, host, now)) {
      // To the end of the line: the next call looks at others.
      campaign.candidates.delete(host)
      campaign.candidates.add(host)
      continue
    }
    if (isBusy(campaign, host)) {
      busy = true
      continue
    }
    const holder = tryHold(campaign, host, now)
    if (holder !== undefined) refillAndTell(state, holder, now, out)
    else slow ??= host
  }
  if (slow === undefined || busy || activeHolders(campaign) > 0) return
  const last = holderOf(campaign, slow)
  last.retired = false
  refillAndTell(state, last, now, out)
}

/** How many hosts may fetch from the registry at once. */
function placesOf(campaign: Campaign): number {
  return campaign.ranged ? campaign.limit : 1
}

/** Takes runs from their holder and queues what is not done; the holder is told if it is still there. */
export function giveUp(state: FleetState, leases: readonly LeasedRun[], out: Outbox, told: boolean): void {
  for (const lease of leases) {
    const { holder } = lease
    dropLease(lease)
    if (needsRegistry(holder.campaign)) putBack(holder.campaign, lease.run, holder.host.id)
  }
  const [first] = leases
  if (first === undefined) return
  state.totals.leasesTakenOver += told ? leases.length : 0
  const { campaign, host } = first.holder
  if (told) {
    send(out, host, { t: 'leases', blob: campaign.blob.digest, grant: [], revoke: leases.map((lease) => lease.run) })
  }
}

/** Ends a host's part as holder: everything of it that is not spread goes back. */
export function dismiss(state: FleetState, holder: Holder, out: Outbox, told: boolean): void {
  giveUp(state, [...holder.open.values(), ...holder.fetched.values()], out, told)
  holder.campaign.holders.delete(holder.host)
}

/** A host gives leases back, or says that it can take none. */
export function release(
  state: FleetState,
  campaign: Campaign,
  host: Host,
  message: { runs: readonly number[]; reason: 'denied' | 'busy' | 'failed' | 'slow' | 'stopping'; bar: boolean },
  now: number,
  out: Outbox
): void {
  const holder = campaign.holders.get(host)
  const back = message.runs.flatMap((run) => holder?.open.get(run) ?? [])
  state.totals.leasesReturned += back.length
  giveUp(state, back, out, false)
  const failures = (campaign.failures.get(host.id) ?? 0) + (message.reason === 'failed' ? 1 : 0)
  if (failures > 0) campaign.failures.set(host.id, failures)
  if (message.reason === 'slow') campaign.slow.add(host.id)
  if (message.reason === 'busy') campaign.limit = Math.max(1, campaign.holders.size - 1)
  if (message.reason === 'stopping') host.stopping = true
  const barred = message.bar || message.reason === 'denied' || failures >= MAX_FAILURES
  if (barred) {
    campaign.barred.add(host.id)
    campaign.candidates.delete(host)
  }
  campaign.pausedUntil.set(host.id, now + PAUSE_MS)
  if (holder !== undefined) {
    holder.pausedUntil = now + PAUSE_MS
    const over = barred || message.reason === 'slow' || host.stopping || holder.open.size + holder.fetched.size === 0
    if (over) dismiss(state, holder, out, false)
    if (over && !barred) campaign.candidates.add(host)
  }
  handOut(state, campaign, now, out)
}

/** Gives what waits to those who can take it: holders heard lately, then new ones. */
export function handOut(state: FleetState, campaign: Campaign, now: number, out: Outbox): void {
  if (waitingRuns(campaign) === 0 || now < state.quietUntil) return
  for (const holder of campaign.holders.values()) {
    if (now - holder.host.heard <= ALIVE_MS || holder.open.size === 0) refillAndTell(state, holder, now, out)
  }
  promote(state, campaign, now, out)
}

/** Remembers a stated link rate, in order, for the median of the swarm. */
export function noteRate(campaign: Campaign, rate: number): void {
  const { statedRates } = campaign
  if (statedRates.length >= MAX_STATED_RATES) return
  let low = 0
  let high = statedRates.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((statedRates[middle] ?? 0) < rate) low = middle + 1
    else high = middle
  }
  statedRates.splice(low, 0, rate)
}

/** The median of the holders' paces; undefined while fewer than two are known. */
export function medianPace(campaign: Campaign): number | undefined {
  const paces = [...campaign.holders.keys()].flatMap((host) => host.meter.pace ?? [])
  return paces.length < 2 ? undefined : medianOf(paces)
}
