/**
 * A blob whose pieces fitted what hosts vouched for while the whole did not fit its digest: somebody vouched for false
 * bytes. Every run is leased again, to another host than before, so that agents can go by what two of them agree on.
 *
 * Who lied is decided by the map that two hosts have proven, against what the accused signed itself: no word of a third
 * host can convict anybody. All that a false alarm does is have one blob fetched once more, and a host has one such
 * alarm an hour unless it was right.
 *
 * Against one host it cannot be told whether it lied or the registry lied to it. Where several vouched falsely for the
 * same blob, a registry, or something before it, that sent false bytes for a while is likelier than that all of them lie.
 */
import { type Claim, claimedHash, claimedPieces } from '@layerswarm/core/claims.ts'
import { type Digest, PIECE_HASH_BYTES } from '@layerswarm/core/digest.ts'
import { removeHolding, unlink } from '../state/facts.ts'
import type { Blob, FleetState, Host } from '../state/model.ts'
import {
  convict,
  type Dispute,
  isDistrusted,
  letOff,
  MAX_ACCUSED_PER_REPORTER,
  MAX_REPORTERS,
  openDispute,
  spend,
  wasLetOff
} from '../state/trust.ts'
import { queueAgain } from './campaign.ts'
import { replaceGateway } from './gateways.ts'
import { dismiss, handOut } from './leases.ts'
import { askForMap } from './map-hunt.ts'
import type { Outbox } from './messages.ts'

/** A host that fetches the blob has all of its pieces, and they do not make up the whole. */
export function takeDispute(state: FleetState, host: Host, digest: Digest, now: number, out: Outbox): void {
  const blob = state.blobs.get(digest)
  const campaign = blob?.campaign
  // A proven map is all that the host needs to sort its pieces out.
  if (blob === undefined || campaign === undefined || !host.wants.has(blob) || blob.map?.proven === true) return
  const { trust } = state
  if (trust.disputes.get(digest)?.openedBy !== undefined || !spend(trust, host.id, now)) return
  const dispute = openDispute(trust, digest)
  dispute.openedBy = host.id
  queueAgain(campaign, dispute)
  handOut(state, campaign, now, out)
}

/**
 * What others signed, brought by a host that has since proven the digest with other pieces.
 * @param claims whose signatures and leases were checked by the caller
 */
export function takeEvidence(state: FleetState, host: Host, digest: Digest, claims: readonly Claim[], now: number, out: Outbox): void {
  const blob = state.blobs.get(digest)
  if (blob === undefined || !host.holds.has(digest)) return
  const { evidence } = openDispute(state.trust, digest)
  const brought = evidence.get(host.id) ?? new Map<string, Claim>()
  if (evidence.size < MAX_REPORTERS) evidence.set(host.id, brought)
  for (const claim of claims) {
    const known = brought.has(claim.author) || brought.size < MAX_ACCUSED_PER_REPORTER
    if (known && !isDistrusted(state.trust, claim.author, now)) brought.set(claim.author, claim)
  }
  if (blob.map?.proven !== true) askForMap(state, blob, now, out)
  judge(state, blob, now, out)
}

/** Ends the blob's dispute once its map is proven: whoever signed other hashes is found guilty, or let off with others. */
export function judge(state: FleetState, blob: Blob, now: number, out: Outbox): void {
  const dispute = state.trust.disputes.get(blob.digest)
  if (dispute === undefined || blob.map?.proven !== true) return
  const { hashes } = blob.map
  const guilty = new Set<string>()
  for (const [reporter, claims] of dispute.evidence) {
    const liars = [...claims.values()].filter((claim) => isFalse(claim, hashes)).map(({ author }) => author)
    for (const liar of liars) guilty.add(liar)
    if (liars.length > 0) state.trust.spent.delete(reporter)
  }
  close(state, blob, dispute)
  const spared = guilty.size > 1 ? [...guilty].filter((id) => letOff(state.trust, id, blob.digest, now)) : []
  if (spared.length > 0) out.push({ type: 'doubted', hosts: spared, blob: blob.digest })
  for (const id of guilty) {
    if (wasLetOff(state.trust, id, blob.digest, now)) continue
    const until = convict(state.trust, id, now)
    if (until === undefined) continue
    const host = state.hosts.get(id)
    out.push({ type: 'convicted', host: id, name: host?.name, blob: blob.digest, forGood: until === Number.POSITIVE_INFINITY })
    if (host !== undefined) expel(state, host, now, out)
  }
}

function isFalse(claim: Claim, map: Uint8Array): boolean {
  const { first, count } = claimedPieces(claim)
  for (let piece = first; piece < first + count; piece++) {
    const proven = map.subarray(piece * PIECE_HASH_BYTES, (piece + 1) * PIECE_HASH_BYTES)
    const claimed = claimedHash(claim, piece)
    if (claimed !== undefined && proven.byteLength > 0 && Buffer.compare(claimed, proven) !== 0) return true
  }
  return false
}

/** What is left to fetch comes from those who proved the map. */
function close(state: FleetState, blob: Blob, dispute: Dispute): void {
  state.trust.disputes.delete(blob.digest)
  const { campaign } = blob
  if (campaign === undefined || campaign.dispute !== dispute) return
  campaign.dispute = undefined
  if (blob.completeCount > 0) campaign.returned.length = 0
}

/** Nothing that the host says counts from now on: what it holds, what it has leased, whom it knows. It may still fetch for itself. */
function expel(state: FleetState, host: Host, now: number, out: Outbox): void {
  host.distrusted = true
  for (const digest of [...host.holds.keys()]) {
    const blob = state.blobs.get(digest)
    if (blob === undefined) continue
    for (const hosts of blob.witnesses.values()) hosts.delete(host.id)
    replaceGateway(state, blob, host, now, out)
    removeHolding(state, host, digest)
  }
  for (const other of [...host.links]) unlink(host, other)
  for (const blob of host.wants.keys()) {
    replaceGateway(state, blob, host, now, out)
    const { campaign } = blob
    if (campaign === undefined) continue
    campaign.candidates.delete(host)
    for (const [run, fetcher] of campaign.fetchedBy) if (fetcher === host) campaign.fetchedBy.delete(run)
    const holder = campaign.holders.get(host)
    if (holder !== undefined) dismiss(state, holder, out, true)
    handOut(state, campaign, now, out)
  }
}

/** Hosts whose time is over are believed again, in what they say from then on. */
export function forgive(state: FleetState, now: number): void {
  for (const [id, { until }] of state.trust.verdicts) {
    const host = until <= now ? state.hosts.get(id) : undefined
    if (host?.distrusted === true) host.distrusted = false
  }
}
