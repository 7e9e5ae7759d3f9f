/** What a host is fetching, as it is told to people and to a tracker. */
import type { Digest } from '@layerswarm/core/digest.ts'
import type { DirectoryNote } from '../ports.ts'
import type { BlobState } from './state.ts'
import type { Transfer } from './transfer.ts'

/** One blob on its way here. */
export interface Activity {
  readonly transfer: Transfer
  /** Since it began. */
  readonly seconds: number
  /** Readers that wait for its bytes. */
  readonly waiting: number
  /** Hosts that have some of it, pieces asked of them now, connections to the registry, runs that are this host's to fetch. */
  readonly sources: { readonly peers: number; readonly requests: number; readonly registry: number; readonly leases: number }
  /** Who decides what comes from the registry: the tracker, or this host on its own. */
  readonly order: 'leases' | 'own'
}

/** @param blob undefined while it opens or closes */
export function activityOf(transfer: Transfer, seconds: number, blob: BlobState | undefined, trackerUp: boolean): Activity {
  return {
    transfer,
    seconds,
    waiting: blob === undefined ? 0 : [...blob.readers.values()].reduce((sum, count) => sum + count, 0),
    sources: {
      peers: blob?.holders.size ?? 0,
      requests: blob === undefined ? 0 : [...blob.requests.values()].reduce((sum, requests) => sum + requests.length, 0),
      registry: blob?.fetches.length ?? 0,
      leases: blob?.leases.size ?? 0
    },
    order: blob?.adriftSince === undefined && trackerUp ? 'leases' : 'own'
  }
}

/** What is under way, as a tracker that came back must hear it. */
export function partialsOf(blobs: ReadonlyMap<Digest, BlobState>): DirectoryNote[] {
  return [...blobs.values()]
    .filter((blob) => !blob.have.complete)
    .map((blob) => ({
      t: 'partial',
      blob: blob.digest,
      size: blob.layout.size,
      bits: blob.have.encode(),
      leases: [...blob.leases.values()]
    }))
}
