/**
 * The planner: facts in, messages out. It knows no clock, no socket and no chance of its own, so that the simulator and
 * the tests run it as it is. Work per event is bounded by the image asked for or by the holders of one blob, never by
 * the number of hosts.
 */
import type { AgentMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import {
  addHolding,
  createFleet,
  createHost,
  degreeOf,
  enterZone,
  type FleetOptions,
  leaveZone,
  removeHolding,
  removeWant,
  tidy,
  unlink
} from '../state/facts.ts'
import type { Blob, Campaign, FleetState, Host } from '../state/model.ts'
import { isDistrusted } from '../state/trust.ts'
import { endCampaign } from './campaign.ts'
import { forgive, judge, takeDispute, takeEvidence } from './disputes.ts'
import { replaceGateway, watchGateways } from './gateways.ts'
import { drawPeers, introduce } from './handout.ts'
import { dismiss, handOut, release } from './leases.ts'
import { DEGREE_CAP, DEGREE_SHARED, HELD_UP_MS, PEERS_ENOUGH, PEERS_PER_PLAN, QUIET_MS, SILENT_MS } from './limits.ts'
import { takeMap, takeRoot } from './map-hunt.ts'
import { type Outbox, type PlannerCommand, type PlannerEvent, send } from './messages.ts'
import { takeOrphans } from './orphans.ts'
import { answerPlan } from './plan.ts'
import { takeReport, watchHolders } from './progress.ts'
import { takePartial } from './rejoin.ts'

export function createPlanner(options: FleetOptions, now: number): FleetState {
  return createFleet(options, now, QUIET_MS)
}

/** Applies one event to `state` and says what is to be sent. @param now milliseconds on any scale that never goes back */
export function step(state: FleetState, event: PlannerEvent, now: number): PlannerCommand[] {
  const out: Outbox = []
  switch (event.type) {
    case 'joined': {
      const host = createHost(event.host, event.seenAt, now)
      host.distrusted = isDistrusted(state.trust, host.id, now)
      state.hosts.set(host.id, host)
      break
    }
    case 'left':
      leave(state, event.host, now, out)
      break
    case 'message': {
      const host = state.hosts.get(event.host)
      if (host === undefined) break
      host.heard = now
      if (host.greeted === (event.message.t === 'hello')) {
        out.push({ type: 'disconnect', host: host.id, reason: host.greeted ? 'a second hello' : 'no hello first' })
      } else take(state, host, event.message, now, out)
      break
    }
    case 'tick':
      tick(state, now, out)
  }
  return out
}

function take(state: FleetState, host: Host, message: AgentMessage, now: number, out: Outbox): void {
  switch (message.t) {
    case 'hello':
      greet(state, host, message, out)
      break
    case 'hold': {
      if (message.full) {
        const kept = new Set(message.add.map(({ digest }) => digest))
        for (const digest of [...host.holds.keys()]) if (!kept.has(digest)) removeHolding(state, host, digest)
      }
      for (const digest of message.drop) removeHolding(state, host, digest)
      for (const holding of host.distrusted ? [] : message.add) {
        addHolding(state, host, holding)
        finish(state, host, state.blobs.get(holding.digest), out)
      }
      break
    }
    case 'partial':
      takePartial(state, host, message, now, out)
      break
    case 'plan':
      answerPlan(state, host, message, now, out)
      break
    case 'report':
      takeReport(state, host, message, now, out)
      break
    case 'release': {
      const campaign = state.blobs.get(message.blob)?.campaign
      if (campaign !== undefined) release(state, campaign, host, message, now, out)
      break
    }
    case 'peers':
      namePeers(state, host, state.blobs.get(message.blob), message.live, out)
      break
    case 'orphans':
      takeOrphans(state, host, message.blob, message.pieces, now, out)
      break
    case 'done': {
      if (!host.distrusted && !host.holds.has(message.blob)) addHolding(state, host, { digest: message.blob, size: message.size })
      const blob = state.blobs.get(message.blob)
      finish(state, host, blob, out)
      if (blob === undefined || host.distrusted) break
      takeRoot(state, host, blob, message.root, now, out)
      judge(state, blob, now, out)
      break
    }
    case 'map': {
      takeMap(state, host, message.blob, message.hashes, out)
      const blob = state.blobs.get(message.blob)
      if (blob !== undefined) judge(state, blob, now, out)
      break
    }
    case 'dispute':
      if (!host.distrusted) takeDispute(state, host, message.blob, now, out)
      break
    case 'evidence':
      if (!host.distrusted) takeEvidence(state, host, message.blob, message.claims, now, out)
      break
    case 'cancel': {
      const blob = state.blobs.get(message.blob)
      if (blob !== undefined) abandon(state, host, blob, now, out)
    }
  }
}

/** The address the host is seen at comes first, except where that is loopback: it means another host to anybody else. */
function greet(state: FleetState, host: Host, hello: Extract<AgentMessage, { t: 'hello' }>, out: Outbox): void {
  const seen = host.seenAt === undefined || hello.port === 0 ? [] : [`${host.seenAt}/tcp/${hello.port}`]
  const local = host.seenAt?.startsWith('/ip4/127.') === true || host.seenAt === '/ip6/::1'
  host.greeted = true
  host.name = hello.name
  host.version = hello.version
  enterZone(state, host, hello.zone ?? '')
  host.address = {
    id: host.id,
    name: hello.name,
    addrs: [...new Set(local ? [...hello.addrs, ...seen] : [...seen, ...hello.addrs])].slice(0, 16)
  }
  send(out, host, { t: 'welcome', version: state.version, observed: host.seenAt ?? '' })
}

/** The host holds the blob whole now. Runs that nobody has a lease for need none any more. */
function finish(state: FleetState, host: Host, blob: Blob | undefined, out: Outbox): void {
  const campaign = blob?.campaign
  if (blob === undefined) return
  if (campaign !== undefined) {
    if (!host.distrusted && campaign.dispute === undefined) {
      campaign.returned.length = 0
      campaign.next = campaign.runs
    }
    retire(state, host, campaign, out)
  }
  removeWant(state, blob, host)
  closeIfIdle(state, blob)
}

/** The host fetches the blob no longer, and does not hold it. */
function abandon(state: FleetState, host: Host, blob: Blob, now: number, out: Outbox): void {
  const { campaign } = blob
  if (campaign !== undefined) retire(state, host, campaign, out)
  replaceGateway(state, blob, host, now, out)
  removeWant(state, blob, host)
  closeIfIdle(state, blob)
  if (blob.campaign !== undefined) handOut(state, blob.campaign, now, out)
}

function retire(state: FleetState, host: Host, campaign: Campaign, out: Outbox): void {
  campaign.candidates.delete(host)
  const holder = campaign.holders.get(host)
  if (holder !== undefined) dismiss(state, holder, out, false)
}

function closeIfIdle(state: FleetState, blob: Blob): void {
  if (blob.campaign === undefined || blob.fetchingCount > 0) return
  endCampaign(state, blob.campaign)
  tidy(state, blob, '')
}

function leave(state: FleetState, id: string, now: number, out: Outbox): void {
  const host = state.hosts.get(id)
  if (host === undefined) return
  state.hosts.delete(id)
  for (const digest of [...host.holds.keys()]) {
    const blob = state.blobs.get(digest)
    if (blob !== undefined) replaceGateway(state, blob, host, now, out)
    removeHolding(state, host, digest)
  }
  for (const blob of [...host.wants.keys()]) abandon(state, host, blob, now, out)
  for (const other of [...host.links]) unlink(host, other)
  leaveZone(state, host)
}

/** More neighbours for a host that has too few alive; those it was told of before are named again when nobody else is left. */
function namePeers(state: FleetState, host: Host, blob: Blob | undefined, live: number, out: Outbox): void {
  if (blob === undefined || !host.wants.has(blob)) return
  const need = Math.min(PEERS_PER_PLAN, PEERS_ENOUGH - live)
  if (need <= 0) return
  const room = Math.min(need, DEGREE_CAP - degreeOf(host))
  const peers = new Set(room > 0 ? drawPeers(state, host, [blob], room, DEGREE_SHARED) : [])
  if (live < degreeOf(host)) {
    for (const other of host.links) {
      if (peers.size >= need) break
      if (other.zone === host.zone) peers.add(other)
    }
  }
  if (peers.size > 0) send(out, host, { t: 'peers', blob: blob.digest, peers: introduce(host, peers) })
}

function tick(state: FleetState, now: number, out: Outbox): void {
  if (now - state.tickedAt > HELD_UP_MS) state.excusedUntil = now + SILENT_MS
  state.tickedAt = now
  forgive(state, now)
  for (const campaign of state.campaigns) {
    watchGateways(state, campaign.blob, now, out)
    watchHolders(state, campaign, now, out)
  }
}
