/** What the tracker knows of seeds: images that it has hosts fetch ahead of use. Times are milliseconds on one scale that never goes back. */
import type { SeedRequest, SeedSummary, SeedTarget } from '@layerswarm/core/api/seed-api.ts'
import type { SeedOrder } from '@layerswarm/core/wire/directory-protocol.ts'

/** A host that is, or lately was, connected. */
export interface KnownHost {
  readonly id: string
  name: string
  zone: string
  /** It understands seeds. */
  takesSeeds: boolean
  /** When its connection ended; undefined while it has one. */
  leftAt: number | undefined
  /** It was connected when the tracker ended before, and has not come back since this one was started. */
  expected: boolean
}

/** Hosts remembered after they left; as many as may be connected. */
export const MAX_HOSTS = 40_000
/** A restarted agent or tracker is back within 5 s, a link that fails shows after 10 s. */
export const ABSENT_MS = 20_000

/** One host of a seed. */
export interface Target {
  name: string
  /** Undefined for a name that no host has had yet. */
  id: string | undefined
  zone: string
  state: SeedTarget['state']
  size: number
  counts: SeedTarget['counts']
  digest: SeedTarget['digest']
  stale: boolean
  error: SeedTarget['error']
  /** Since when it has been waited for; undefined while it is connected. */
  awaitedSince: number | undefined
  /** The revision that changed it last. */
  changed: number
}

/** What is to be fetched, the image with its defaults filled in. */
export interface SeedSpec {
  readonly image: string
  readonly hosts: readonly string[]
  readonly platforms: SeedRequest['platforms']
  /** The namespace of containerd that gets the image too. */
  readonly containerd?: string | undefined
}

export interface Seed {
  readonly id: string
  readonly spec: SeedSpec
  state: SeedSummary['state']
  /** Milliseconds; negative for a seed of a time before this process. */
  readonly startedAt: number
  endedAt: number | undefined
  readonly targets: readonly Target[]
  /** Those that have come to no end. */
  readonly open: Set<Target>
  readonly byHost: Map<string, Target>
}

export interface SeedsState {
  /** Grows with each change of a target, across restarts too. */
  revision: number
  /** By id, the oldest first. */
  readonly seeds: Map<string, Seed>
  readonly hosts: Map<string, KnownHost>
}

export type SeedEvent =
  /** A host has said who it is. */
  | { readonly type: 'joined'; readonly host: Pick<KnownHost, 'id' | 'name' | 'zone' | 'takesSeeds'> }
  /** Its connection ended, however. */
  | { readonly type: 'left'; readonly host: string }
  | { readonly type: 'report'; readonly host: string; readonly report: Report }
  | { readonly type: 'cancel'; readonly id: string }
  /** Each second or so. */
  | { readonly type: 'tick' }

/** How a seed fares at a host, as the host says. */
export interface Report {
  readonly id: string
  readonly state: 'queued' | 'fetching' | 'done' | 'failed'
  readonly size: number
  readonly counts: SeedTarget['counts']
  readonly digest?: SeedTarget['digest']
  /** Bytes that the host's containerd lacked. */
  readonly given?: number | undefined
  readonly stale?: boolean | undefined
  readonly error?: SeedTarget['error']
}

export type SeedCommand =
  | { readonly type: 'send'; readonly host: string; readonly message: SeedOrder | { readonly t: 'unseed'; readonly id: string } }
  /** It is to be kept as it is now. */
  | { readonly type: 'keep'; readonly seed: Seed }
  | { readonly type: 'ended'; readonly seed: Seed }
  | { readonly type: 'forget'; readonly id: string }

export type Outbox = SeedCommand[]

/** @param firstRevision greater than any of an earlier life */
export function createSeeds(firstRevision: number): SeedsState {
  return { revision: firstRevision, seeds: new Map(), hosts: new Map() }
}

export function isOpen({ state }: Pick<Target, 'state'>): boolean {
  return state === 'waiting' || state === 'queued' || state === 'fetching'
}
