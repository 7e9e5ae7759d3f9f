import type { Lease } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { AgentMessage, PlannedBlob, TrackerMessage } from '@layerswarm/core/wire/directory-protocol.ts'

export type PlannerEvent =
  /** A host opened its stream. A new stream of a host that has one: `left` goes first. */
  | { readonly type: 'joined'; readonly host: string; readonly seenAt?: string }
  /** Its stream ended, however. */
  | { readonly type: 'left'; readonly host: string }
  | { readonly type: 'message'; readonly host: string; readonly message: AgentMessage }
  /** Each TICK_MS. */
  | { readonly type: 'tick' }

/** A lease before the tracker put its name and signature to it. */
export type UnsignedLease = Omit<Lease, 'by' | 'sig'>

type Unsigned<M> = M extends { t: 'plan' }
  ? Omit<M, 'blobs'> & { blobs: UnsignedBlob[] }
  : M extends { t: 'leases' }
    ? Omit<M, 'grant'> & { grant: UnsignedLease[] }
    : M
export type UnsignedBlob = Omit<PlannedBlob, 'leases'> & { leases: UnsignedLease[] }
/** A message to an agent whose leases are still to be signed. */
export type PlannerMessage = Unsigned<TrackerMessage>

export type PlannerCommand =
  | { readonly type: 'send'; readonly host: string; readonly message: PlannerMessage }
  /** The host vouched for false bytes of the blob. */
  | {
      readonly type: 'convicted'
      readonly host: string
      readonly name: string | undefined
      readonly blob: Digest
      readonly forGood: boolean
    }
  /** Several hosts vouched for false bytes of the blob, most likely since the registry sent them. */
  | { readonly type: 'doubted'; readonly hosts: readonly string[]; readonly blob: Digest }
  /** The host broke the protocol. */
  | { readonly type: 'disconnect'; readonly host: string; readonly reason: string }

/** Where the rules put what is to be done. */
export type Outbox = PlannerCommand[]

export function send(out: Outbox, host: { readonly id: string }, message: PlannerMessage): void {
  out.push({ type: 'send', host: host.id, message })
}
