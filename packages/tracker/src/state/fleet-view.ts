import { cursorAfter, type FleetPage, partOf } from './fleet-page.ts'
import type { FleetState, Host } from './model.ts'

/** Runs of the largest blob there can be have fewer: their keys are then in the order of their numbers. */
const RUN_DIGITS = 10

/**
 * What `GET /v1/fleet` answers: the fleet as the tracker sees it now, in pages. Fields are only ever added.
 */
export interface FleetView {
  /** Entries of each list on all pages. */
  readonly totals: { readonly hosts: number; readonly blobs: number; readonly leases: number }
  /** What `?cursor=` gives the next page by; absent on the last one. */
  readonly next?: string
  readonly tracker: { readonly id: string; readonly version: string; readonly uptimeSeconds: number }
  readonly hosts: readonly {
    readonly name: string
    readonly id: string
    readonly zone: string
    readonly version: string
    /** Multiaddrs, most likely one first. */
    readonly addresses: readonly string[]
    readonly state: 'idle' | 'fetching'
    /** It vouched for false bytes: nobody is told of it, and it fetches for nobody but itself. */
    readonly distrusted?: true
    /** Blobs held whole, and their bytes. */
    readonly blobs: number
    readonly bytes: number
    /** Blobs being fetched. */
    readonly fetching: number
    /** Runs leased to it and not fetched yet. */
    readonly leases: number
    /** Bytes a second from the registry, while it holds leases. */
    readonly registryRate?: number
  }[]
  readonly blobs: readonly {
    readonly digest: string
    readonly size?: number
    readonly mediaType?: string
    /** Hosts that hold it whole, and hosts that fetch it. */
    readonly complete: number
    readonly fetching: number
    readonly map: 'none' | 'claimed' | 'proven'
  }[]
  readonly leases: readonly {
    readonly blob: string
    readonly run: number
    readonly holder: string
    readonly state: 'open' | 'fetched'
    readonly seconds: number
  }[]
  /** Bytes that registries sent, distinct bytes among them, and one divided by the other, since the tracker started. */
  readonly registry: { readonly bytes: number; readonly uniqueBytes: number; readonly copies: number }
}

export function viewFleet(state: FleetState, id: string, now: number, page: FleetPage): FleetView {
  const greeted = [...state.hosts.values()].filter((host) => host.greeted)
  const leased = [...state.campaigns].flatMap((campaign) => [...campaign.leased.values()].map((lease) => ({ campaign, lease })))
  const parts = {
    hosts: partOf(greeted, 'hosts', page, (host) => host.id),
    blobs: partOf(state.blobs.values(), 'blobs', page, ({ digest }) => digest),
    leases: partOf(
      leased,
      'leases',
      page,
      ({ campaign, lease }) => `${campaign.blob.digest}/${String(lease.run).padStart(RUN_DIGITS, '0')}`
    )
  }
  const next = cursorAfter(parts)
  return {
    totals: { hosts: greeted.length, blobs: state.blobs.size, leases: leased.length },
    ...(next === undefined ? {} : { next }),
    tracker: { id, version: state.version, uptimeSeconds: Math.round((now - state.startedAt) / 1000) },
    hosts: parts.hosts.entries.map(viewHost),
    blobs: parts.blobs.entries.map((blob) => ({
      digest: blob.digest,
      ...(blob.layout === undefined ? {} : { size: blob.layout.size }),
      ...(blob.mediaType === undefined ? {} : { mediaType: blob.mediaType }),
      complete: blob.completeCount,
      fetching: blob.fetchingCount,
      map: blob.map === undefined ? 'none' : blob.map.proven ? 'proven' : 'claimed'
    })),
    leases: parts.leases.entries.map(({ campaign, lease: { run, holder, since } }) => ({
      blob: campaign.blob.digest,
      run,
      holder: holder.host.id,
      state: holder.open.has(run) ? ('open' as const) : ('fetched' as const),
      seconds: (now - since) / 1000
    })),
    registry: {
      bytes: state.totals.registryBytes,
      uniqueBytes: state.totals.uniqueBytes,
      copies: copiesOf(state)
    }
  }
}

/** Registry bytes ÷ unique bytes; 0 while nothing has left a registry. */
export function copiesOf(state: FleetState): number {
  const { registryBytes, uniqueBytes } = state.totals
  return uniqueBytes === 0 ? 0 : registryBytes / uniqueBytes
}

/** Leases by state: those being fetched, and those fetched that no peer has announced yet. */
export function countLeases(state: FleetState): { open: number; fetched: number } {
  let open = 0
  let fetched = 0
  for (const { holders } of state.campaigns) {
    for (const holder of holders.values()) {
      open += holder.open.size
      fetched += holder.fetched.size
    }
  }
  return { open, fetched }
}

export function countHosts(state: FleetState): { idle: number; fetching: number } {
  let fetching = 0
  for (const host of state.hosts.values()) if (host.wants.size > 0) fetching++
  return { idle: state.hosts.size - fetching, fetching }
}

function viewHost(host: Host): FleetView['hosts'][number] {
  return {
    name: host.name,
    id: host.id,
    zone: host.statedZone,
    version: host.version,
    addresses: host.address.addrs,
    state: host.wants.size > 0 ? 'fetching' : 'idle',
    ...(host.distrusted ? { distrusted: true } : {}),
    blobs: host.holds.size,
    bytes: host.heldBytes,
    fetching: host.wants.size,
    leases: host.outstanding,
    ...(host.outstanding === 0 || host.meter.rate === undefined ? {} : { registryRate: Math.round(host.meter.rate) })
  }
}
