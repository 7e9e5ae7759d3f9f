/** Who holds what, and what this host is told to fetch. */

import type { Claim, Lease } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type {
  Gateway,
  Holding,
  PeerAddress,
  PieceMap,
  PlannedBlob,
  SeedOrder,
  SeedReport
} from '@layerswarm/core/wire/directory-protocol.ts'
import type { Abortable } from './common.ts'

export interface PlanRequest {
  readonly scope: string
  readonly blobs: readonly { readonly digest: Digest; readonly size?: number }[]
  /** The registry granted this host's own request for this repository: it may hold leases. */
  readonly origin: boolean
  /** False: only knowledge is asked for, no lease. */
  readonly want: boolean
  readonly rate?: number
}

export interface Plan {
  readonly blobs: readonly PlannedBlob[]
  readonly peers: readonly PeerAddress[]
}

export type DirectoryEvent =
  | { readonly type: 'up' }
  | { readonly type: 'down' }
  | { readonly type: 'leases'; readonly blob: Digest; readonly grant: readonly Lease[]; readonly revoke: readonly number[] }
  | { readonly type: 'peers'; readonly blob: Digest; readonly peers: readonly PeerAddress[]; readonly gateway?: Gateway }
  | { readonly type: 'map'; readonly blob: Digest; readonly size: number; readonly map: PieceMap }
  | { readonly type: 'wantMap'; readonly blob: Digest }
  /** An image is to be fetched ahead of use, or need not be any more. */
  | { readonly type: 'seed'; readonly order: SeedOrder }
  | { readonly type: 'unseed'; readonly id: string }

/** What an agent tells of a blob that it fetches, or of a seed. Dropped silently while there is no tracker. */
export type DirectoryNote =
  | SeedReport
  | {
      readonly t: 'report'
      readonly blob: Digest
      /** Pieces fetched from the registry since the last report. */
      readonly got: readonly number[]
      /** Pieces of those that a peer has announced since the last report. */
      readonly spread: readonly number[]
      /** Bytes that the registry sent for this blob since the last report, with or without a lease. */
      readonly bytes: number
      /** The registry ignores Range: it streams the blob to this host from byte 0. */
      readonly whole?: boolean
    }
  | {
      readonly t: 'release'
      readonly blob: Digest
      readonly runs: readonly number[]
      readonly reason: 'denied' | 'busy' | 'failed' | 'slow' | 'stopping'
      readonly bar: boolean
    }
  | { readonly t: 'peers'; readonly blob: Digest; readonly live: number }
  | { readonly t: 'orphans'; readonly blob: Digest; readonly pieces: readonly number[] }
  | { readonly t: 'partial'; readonly blob: Digest; readonly size: number; readonly bits: Uint8Array; readonly leases: readonly Lease[] }
  | { readonly t: 'done'; readonly blob: Digest; readonly size: number; readonly root: Uint8Array }
  | { readonly t: 'map'; readonly blob: Digest; readonly size: number; readonly hashes: Uint8Array }
  /** All pieces fit what was vouched for, and the whole does not fit its digest. */
  | { readonly t: 'dispute'; readonly blob: Digest }
  /** What others signed, and the pieces with which this host has proven the digest contradict; one claim for each author. */
  | { readonly t: 'evidence'; readonly blob: Digest; readonly claims: readonly Claim[] }
  | { readonly t: 'cancel'; readonly blob: Digest }

/** Who holds what and who shall fetch what. Advice: every caller goes on without it. */
export interface PeerDirectory {
  readonly connected: boolean
  /** Peer ids whose signature on a lease counts. */
  readonly trusted: ReadonlySet<string>
  /** @throws {LayerswarmError} TRACKER_UNREACHABLE, at once while there is no connection */
  plan(want: PlanRequest, options?: Abortable): Promise<Plan>
  /** Complete blobs that are held now and no longer. */
  announce(changes: { readonly add: readonly Holding[]; readonly drop: readonly Digest[] }): void
  tell(note: DirectoryNote): void
  events(options?: Abortable): AsyncIterable<DirectoryEvent>
}
