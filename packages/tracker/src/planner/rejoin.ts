/** A host says what it is in the middle of: after its own restart, a lost connection, or a restart of the tracker. */
import { layoutOf, runOf } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { AgentMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import { addWant } from '../state/facts.ts'
import type { Campaign, FleetState, Holder, Host } from '../state/model.ts'
import { addLease, allPieces, holderOf, markFetched, startCampaign } from './campaign.ts'
import { offerPlace } from './gateways.ts'
import { MAX_QUIET_MS, MAX_RUNS_PER_HOLDER, QUIET_MS, SILENT_MS } from './limits.ts'
import { type Outbox, send } from './messages.ts'
import { wantedBlob } from './wanted.ts'

type Partial = Extract<AgentMessage, { t: 'partial' }>

/**
 * Adopts the pieces and leases of a host. A run that somebody else was leased meanwhile is taken from it, and so is what
 * goes beyond the leases that any host is given: the word of a host must not take the whole blob from the others.
 * Leases in hand also show that this tracker has just been restarted: then it stays quiet until their owners are back.
 */
export function takePartial(state: FleetState, host: Host, message: Partial, now: number, out: Outbox): void {
  const layout = layoutOf(message.size)
  if (message.bits.byteLength !== Math.ceil(layout.pieces / 8)) return
  const blob = wantedBlob(state, host, message.blob, message.size)
  if (blob === undefined) return
  const have = PieceSet.decode(layout.pieces, message.bits)
  addWant(blob, host)
  const campaign = blob.campaign ?? startCampaign(state, blob, layout)
  offerPlace(blob, host, now, out)
  if (!host.distrusted) campaign.known.addAll(have)
  const lost: number[] = []
  for (const { run } of message.leases) {
    if (run >= campaign.runs) continue
    const present = campaign.leased.get(run)
    const open = campaign.holders.get(host)?.open.size ?? 0
    if (present === undefined && !host.distrusted && open < MAX_RUNS_PER_HOLDER)
      adoptLease(state, campaign, holderOf(campaign, host), run, have, now)
    else if (present?.holder.host !== host) lost.push(run)
  }
  if (lost.length > 0) send(out, host, { t: 'leases', blob: blob.digest, grant: [], revoke: lost })
  const latest = state.startedAt + MAX_QUIET_MS
  if (message.leases.length === 0 || now >= latest) return
  state.quietUntil = Math.max(state.quietUntil, Math.min(now + QUIET_MS, latest))
  state.excusedUntil = Math.max(state.excusedUntil, state.quietUntil + SILENT_MS)
}

function adoptLease(state: FleetState, campaign: Campaign, holder: Holder, run: number, have: PieceSet, now: number): void {
  const place = campaign.returned.findIndex((entry) => entry.run === run)
  if (place >= 0) campaign.returned.splice(place, 1)
  const lease = addLease(holder, run, state.serial++, undefined, now)
  for (const piece of have) if (runOf(piece) === run) lease.got |= 1 << (piece % 8)
  if (lease.got === allPieces(campaign, run)) markFetched(lease, now)
}
