/** What the scheduler is told, and what it answers. */
import type { Lease } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { PieceLayout, PieceRun } from '@layerswarm/core/piece-layout.ts'
import type { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Gateway, PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import type { DirectoryNote, Faring } from '../ports.ts'

export type SwarmEvent =
  | {
      readonly type: 'open'
      readonly blob: Digest
      readonly layout: PieceLayout
      readonly have: PieceSet
      /** Blobs of one image have this in common; by default a blob stands for itself. */
      readonly pull?: string
    }
  | { readonly type: 'close'; readonly blob: Digest }
  | { readonly type: 'tracker'; readonly up: boolean }
  | { readonly type: 'planned'; readonly blob: Digest; readonly gateway?: Gateway | undefined }
  | { readonly type: 'place'; readonly blob: Digest; readonly gateway: Gateway }
  | { readonly type: 'planFailed'; readonly blob: Digest }
  | { readonly type: 'peers'; readonly peers: readonly PeerAddress[] }
  | { readonly type: 'leases'; readonly blob: Digest; readonly grant: readonly Lease[]; readonly revoke: readonly number[] }
  | { readonly type: 'map'; readonly blob: Digest; readonly proven: boolean }
  | { readonly type: 'mapFailed'; readonly blob: Digest; readonly vouched: PieceSet }
  | { readonly type: 'vouched'; readonly blob: Digest; readonly run: PieceRun }
  /** It is connected; and it fetches the blob, where one is named. */
  | { readonly type: 'up'; readonly peer: string; readonly blob?: Digest }
  | { readonly type: 'down'; readonly peer: string }
  | {
      readonly type: 'available'
      readonly peer: string
      readonly blob: Digest
      readonly pieces: Iterable<number>
      readonly load: number
      readonly gone: boolean
    }
  /** Bytes have come of pieces that are not whole yet: from these peers, and so many of the piece that each of these fetches brings. */
  | {
      readonly type: 'arriving'
      readonly blob: Digest
      readonly peers: readonly string[]
      readonly fetches: ReadonlyMap<number, number>
    }
  | { readonly type: 'landed'; readonly blob: Digest; readonly piece: number; readonly from: string; readonly bytes: number }
  | { readonly type: 'failed'; readonly blob: Digest; readonly piece: number; readonly peer: string; readonly reason: FailReason }
  /** The neighbour had not begun to answer: the request is off. */
  | { readonly type: 'withdrawn'; readonly blob: Digest; readonly piece: number; readonly peer: string }
  | { readonly type: 'noRange'; readonly blob: Digest }
  | { readonly type: 'fetchEnded'; readonly blob: Digest; readonly fetch: number }
  | { readonly type: 'fetchFailed'; readonly blob: Digest; readonly fetch: number; readonly reason: 'refused' | 'busy' | 'failed' }
  | { readonly type: 'reader'; readonly blob: Digest; readonly piece: number; readonly waiting: boolean }
  | { readonly type: 'discarded'; readonly blob: Digest; readonly pieces: Iterable<number> }
  | { readonly type: 'tick' }

/**
 * Why a peer did not deliver. `lie`: the bytes fail a proven map or a signed claim; `doubtful`: they fail what counts
 * now, but the peer may have been deceived itself.
 */
export type FailReason = 'gone' | 'unreachable' | 'doubtful' | 'lie' | 'local'

export type SwarmCommand =
  | { readonly type: 'connect'; readonly peer: PeerAddress }
  | { readonly type: 'observe'; readonly peer: string; readonly blob: Digest }
  | { readonly type: 'request'; readonly peer: string; readonly blob: Digest; readonly piece: number; readonly faring: Faring }
  | { readonly type: 'cancel'; readonly peer: string; readonly blob: Digest; readonly piece: number }
  /** Take the request back if its answer has not begun. */
  | { readonly type: 'withdraw'; readonly peer: string; readonly blob: Digest; readonly piece: number }
  | { readonly type: 'fetch'; readonly blob: Digest; readonly fetch: number; readonly run: PieceRun }
  | { readonly type: 'stopFetch'; readonly blob: Digest; readonly fetch: number }
  | { readonly type: 'ban'; readonly peer: string }
  | { readonly type: 'tell'; readonly note: DirectoryNote }
  | { readonly type: 'complete'; readonly blob: Digest }
  | { readonly type: 'retire'; readonly blob: Digest }
  | { readonly type: 'giveUp'; readonly blob: Digest }

/** An event of one blob that is open. */
export type BlobEvent = Exclude<SwarmEvent, { type: 'tracker' | 'peers' | 'up' | 'down' | 'open' | 'tick' }>
