/** Answers a plan request: one for all layers of an image, from facts and leases in hand. Nothing is recomputed for the swarm. */
import type { Digest } from '@layerswarm/core/digest.ts'
import type { AgentMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import { addWant, degreeOf, isMember } from '../state/facts.ts'
import { useMap } from '../state/maps.ts'
import type { Blob, FleetState, Holder, Host } from '../state/model.ts'
import { startCampaign, toWire } from './campaign.ts'
import { importsFor, offerPlace, placeOf } from './gateways.ts'
import { addressFor, drawPeers, introduce } from './handout.ts'
import { grantFirst, noteRate, refillPlanned, tryHold } from './leases.ts'
import { DEGREE_CAP, FIRST_PLAN_RUNS, LATE_SHARE, MAX_NAMED_PEERS, PEERS_PER_PLAN } from './limits.ts'
import { askForMap, sendMap } from './map-hunt.ts'
import { type Outbox, send, type UnsignedBlob } from './messages.ts'
import { wantedBlob } from './wanted.ts'

/** Bytes of maps inside one plan; maps beyond it follow as messages of their own. */
const MAX_PLANNED_MAP_BYTES = 2 * 1024 * 1024
/** Hosts that wait for one map: each copy costs as much as a piece. The others get it from their peers. */
const MAX_MAPLESS = 64

type PlanMessage = Extract<AgentMessage, { t: 'plan' }>

export function answerPlan(state: FleetState, host: Host, message: PlanMessage, now: number, out: Outbox): void {
  state.totals.plans++
  if (message.rate !== undefined) host.statedRate = message.rate
  const sizes = new Map<Digest, number | undefined>(message.blobs.map(({ digest, size }) => [digest, size]))
  const wanted = message.want ? join(state, host, sizes, message, now, out) : []
  if (message.origin) lease(state, host, wanted, now)
  const peers = message.want ? neighbours(state, host, wanted, now) : glance(state, host, sizes.keys())
  const later: Blob[] = []
  let mapBytes = 0
  const blobs = [...sizes.keys()].map((digest): UnsignedBlob => {
    const blob = state.blobs.get(digest)
    if (blob === undefined) return { digest, known: false, complete: 0, leases: [] }
    const fits = mapBytes + (blob.map?.hashes.byteLength ?? 0) <= MAX_PLANNED_MAP_BYTES
    if (!fits) later.push(blob)
    const map = fits ? useMap(state, blob) : undefined
    mapBytes += map?.hashes.byteLength ?? 0
    const { campaign, layout, mediaType } = blob
    const holder = campaign?.holders.get(host)
    const gateway = host.wants.has(blob) ? placeOf(blob, host) : undefined
    const planned: UnsignedBlob = {
      digest,
      known: blob.scopes.has(message.scope),
      complete: blob.completeCount - (host.holds.has(digest) ? 1 : 0),
      leases: campaign === undefined || holder === undefined ? [] : Array.from(holder.open.values(), (one) => toWire(campaign, one))
    }
    if (layout !== undefined) planned.size = layout.size
    if (mediaType !== undefined) planned.mediaType = mediaType
    if (map !== undefined) planned.map = map
    if (gateway !== undefined) planned.gateway = gateway
    return planned
  })
  send(out, host, { t: 'plan', id: message.id, blobs, peers })
  for (const blob of later) sendMap(state, host, blob, out)
  for (const blob of wanted) {
    if (blob.completeCount === 0 || (blob.map?.proven ?? false)) continue
    if (blob.mapless.size < MAX_MAPLESS) blob.mapless.add(host)
    askForMap(state, blob, now, out)
  }
}

/** Enters the host for every blob that it may fetch. */
function join(
  state: FleetState,
  host: Host,
  sizes: ReadonlyMap<Digest, number | undefined>,
  message: PlanMessage,
  now: number,
  out: Outbox
): Blob[] {
  const joined: Blob[] = []
  for (const [digest, size] of sizes) {
    const blob = wantedBlob(state, host, digest, size)
    if (blob === undefined) continue
    const isNew = addWant(blob, host)
    const campaign = blob.campaign ?? (blob.layout === undefined ? undefined : startCampaign(state, blob, blob.layout))
    offerPlace(blob, host, now, out)
    if (campaign !== undefined && isNew) {
      if (message.rate !== undefined) noteRate(campaign, message.rate)
      if (campaign.fetched.count > campaign.layout.pieces * LATE_SHARE) campaign.late.add(host.id)
    }
    if (campaign !== undefined && message.origin && !campaign.holders.has(host) && !campaign.barred.has(host.id))
      campaign.candidates.add(host)
    joined.push(blob)
  }
  return joined
}

function lease(state: FleetState, host: Host, wanted: readonly Blob[], now: number): void {
  if (now < state.quietUntil) return
  const holders: Holder[] = []
  for (const { campaign } of wanted) {
    // The first is for a client that asks for it now, whatever else the host has in hand.
    if (holders.length > 0 && host.outstanding >= FIRST_PLAN_RUNS) break
    const holder = campaign === undefined ? undefined : tryHold(campaign, host, now)
    if (holder === undefined) continue
    grantFirst(state, holder, now)
    holders.push(holder)
  }
  for (const holder of holders) refillPlanned(state, holder, now)
}

function neighbours(state: FleetState, host: Host, wanted: readonly Blob[], now: number): ReturnType<typeof introduce> {
  if (wanted.length === 0) return []
  const linked = [...host.links].filter((other) => wanted.some((blob) => isMember(blob, other)))
  const near = linked.filter(({ zone }) => zone === host.zone).length
  const room = Math.min(PEERS_PER_PLAN - near, DEGREE_CAP - degreeOf(host))
  const drawn = room > 0 ? drawPeers(state, host, wanted, room, DEGREE_CAP) : []
  const imports = new Set(wanted.flatMap((blob) => importsFor(state, blob, host, now)))
  return introduce(host, new Set([...drawn, ...imports, ...linked].slice(0, MAX_NAMED_PEERS)))
}

/** Hosts to ask for content that is not wanted yet: named without counting them as neighbours. */
function glance(state: FleetState, host: Host, digests: Iterable<Digest>): ReturnType<typeof introduce> {
  const blobs = [...digests].flatMap((digest) => state.blobs.get(digest) ?? [])
  return drawPeers(state, host, blobs, PEERS_PER_PLAN, DEGREE_CAP).map((other) => addressFor(host, other))
}
