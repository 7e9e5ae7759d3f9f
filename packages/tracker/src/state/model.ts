/**
 * What the tracker knows. Soft state: all of it comes from agents that are connected now, and goes with them.
 *
 * Ownership: `facts.ts` keeps who holds and wants what, `maps.ts` the piece maps, the planner the campaigns and links.
 */
import type { Digest } from '@layerswarm/core/digest.ts'
import type { PieceLayout } from '@layerswarm/core/piece-layout.ts'
import type { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Holding, PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import type { Candidates } from './candidates.ts'
import type { FetchingHosts } from './fetching-hosts.ts'
import type { IndexedSet } from './indexed-set.ts'
import type { Dispute, Trust } from './trust.ts'

/** A connected agent. */
export interface Host {
  readonly id: string
  /** Address and family it is seen at, as a multiaddr without port: `/ip4/192.0.2.7`. */
  readonly seenAt: string | undefined
  /** False until its hello. */
  greeted: boolean
  name: string
  version: string
  /** Empty when the host named none. */
  /** Where hosts are grouped by it; empty for none, and beyond the most zones that a fleet may have. */
  zone: string
  /** What it says itself. */
  statedZone: string
  address: PeerAddress
  /** When its last message came. */
  heard: number
  /** Link rate that it states, bytes a second. */
  statedRate: number | undefined
  readonly holds: Map<Digest, Holding>
  /** Bytes of all that it holds. */
  heldBytes: number
  /** Blobs that it fetches. */
  readonly wants: Map<Blob, Want>
  /** Hosts it was told of or that were told of it, while one of the two fetches something. */
  readonly links: Set<Host>
  /** How many of those are of other zones: they take no place from hosts of the zone. */
  foreignLinks: number
  /** Runs leased to it and not fetched yet, over all blobs. */
  outstanding: number
  /** What of that is of brief blobs, those with no more runs than are out at a time. */
  readonly brief: { runs: number; bytes: number }
  readonly meter: Meter
  /** It is shutting down: no more leases. */
  stopping: boolean
  /** It vouched for false bytes: nobody is told of it, and it vouches for nothing. */
  distrusted: boolean
}

/** How fast leased pieces arrive at a host from the registry. Runs while it has something to fetch. */
export interface Meter {
  /** Bytes a second; undefined until measured. */
  rate: number | undefined
  since: number
  bytes: number
  /** Bytes counted before the piece that they belong to was reported. */
  ahead: number
  /** Bytes a second over a while that evens out what connections take from each other; undefined in the first such while. */
  pace: number | undefined
  paceSince: number
  paceBytes: number
  /** When something arrived last. */
  progressAt: number
}

/** A host's part in a blob that it fetches. */
export interface Want {
  /** Its place among those of its zone that do. */
  place: number
  /** Its place among those that may fetch it from the registry; -1: it may not, or does. */
  ticket: number
}

/** The hosts of one zone that have or fetch a blob. */
export interface Members {
  readonly complete: IndexedSet<Host>
  readonly fetching: FetchingHosts
  /** Hosts that import for the zone, by number; the first that asked. */
  readonly gateways: GatewayPlace[]
}

export interface GatewayPlace {
  readonly host: Host
  /** When it got the place. */
  readonly since: number
}

export interface Blob {
  readonly digest: Digest
  layout: PieceLayout | undefined
  /** The size comes from a host that proved the digest. */
  sizeProven: boolean
  mediaType: string | undefined
  /** Hosts that vouch for it under each scope. */
  readonly scopes: Map<string, number>
  readonly zones: Map<string, Members>
  completeCount: number
  fetchingCount: number
  /** Hosts that vouch for each piece map, by its root in hex. */
  readonly witnesses: Map<string, Set<string>>
  map: KnownMap | undefined
  /** Hosts asked for the map, and when. */
  readonly mapAsked: Map<string, number>
  /** Hosts that fetch it and got no map with their plan. */
  readonly mapless: Set<Host>
  /** Who fetches what from the registry; while somebody wants the blob and its size is known. */
  campaign: Campaign | undefined
}

export interface KnownMap {
  readonly hashes: Uint8Array
  readonly root: string
  proven: boolean
}

/** How one run fares at its holder. Pieces are bits, the first piece of the run is bit 0. */
export interface LeasedRun {
  readonly run: number
  readonly holder: Holder
  readonly serial: number
  readonly instead: string | undefined
  readonly since: number
  progressAt: number
  got: number
  spread: number
}

/** A host with leases of one blob. */
export interface Holder {
  readonly host: Host
  readonly campaign: Campaign
  /** Leased, not fetched whole yet. */
  readonly open: Map<number, LeasedRun>
  /** Fetched whole, not yet announced by a peer. */
  readonly fetched: Map<number, LeasedRun>
  /** Nothing new before this time: the registry or the host failed a moment ago. */
  pausedUntil: number
  /** When a run was fetched whole last: runs are streamed one after another, so that the next began then. */
  fetchedAt: number
  /** It gets nothing more; only what it fetched is still to be announced by others. */
  retired: boolean
}

export interface Campaign {
  readonly blob: Blob
  readonly layout: PieceLayout
  readonly runs: number
  /** Runs from here on were never leased. */
  next: number
  /** Runs given back or taken away, lowest first, with the host given up. They go before `next`. */
  readonly returned: { readonly run: number; readonly instead: string | undefined }[]
  /** The run's lease, fetched ones included until they are spread. */
  readonly leased: Map<number, LeasedRun>
  /** Pieces that some host was known to hold when it (re)joined. */
  readonly known: PieceSet
  /** Pieces that left the registry at least once. */
  readonly fetched: PieceSet
  readonly holders: Map<Host, Holder>
  /** Hosts that may become holders, in the order of asking. */
  readonly candidates: Candidates
  readonly barred: Set<string>
  readonly slow: Set<string>
  /** Hosts that asked when much had been fetched already: they have enough to take from peers. */
  readonly late: Set<string>
  readonly failures: Map<string, number>
  /** A lease given back keeps its host from this blob for a moment. */
  readonly pausedUntil: Map<string, number>
  /** Holders given up for their silence, and when: nothing for them until they say something. */
  readonly silenced: Map<string, number>
  /** Link rates that askers state, ascending. */
  readonly statedRates: number[]
  /** Most holders at once. */
  limit: number
  /** False: the registry ignores Range, so one host streams everything. */
  ranged: boolean
  /** Durations of runs fetched lately, ms. */
  readonly runTimes: number[]
  medianRunTime: number
  /** Who fetched each run, so that it can be named to a host that finds it nowhere. */
  readonly fetchedBy: Map<number, Host>
  /** While the blob is in dispute, each run is for a host that has not fetched it yet. */
  dispute: Dispute | undefined
  /** When a piece was last said to be nowhere. */
  readonly orphaned: Map<number, number>
}

export interface Totals {
  /** Bytes that registries sent to the fleet. */
  registryBytes: number
  /** Bytes of distinct pieces among them. */
  uniqueBytes: number
  plans: number
  leasesGranted: number
  leasesTakenOver: number
  leasesReturned: number
}

export interface FleetState {
  /** Of this program, told to agents. */
  readonly version: string
  readonly hosts: Map<string, Host>
  /** Zones, with how many hosts are in each. */
  readonly zones: Map<string, number>
  readonly blobs: Map<Digest, Blob>
  /** Blobs with a campaign. */
  readonly campaigns: Set<Campaign>
  /** Blobs with a map, least recently used first. */
  readonly maps: Set<Blob>
  mapBytes: number
  /** 0 … 1, seeded by whoever owns the state. */
  readonly random: () => number
  serial: number
  startedAt: number
  /** No lease is granted before this time: holders of the time before a restart may still report. */
  quietUntil: number
  tickedAt: number
  /** Silence of hosts before this time is this process's own. */
  excusedUntil: number
  readonly trust: Trust
  readonly totals: Totals
}
