/** The metrics that dashboards and alerts rely on, under pinned names. Labels never carry an address, a digest or a repository. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export type { Registry as MetricsRegistry } from 'prom-client'

const PREFIX = 'layerswarm_'

/** Seconds: from a hit on this disk to a large layer over a slow link. */
const PULL_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]
/** Seconds: up to where the mirror gives up on a first byte, and a little beyond. */
const FIRST_BYTE_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
/** Seconds: a plan is computed in memory. */
const PLAN_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1]

/** A counter as its users see it. */
export interface LabelledCounter<Labels extends object> {
  inc(labels: Labels, value?: number): void
}

/** A histogram as its users see it. */
export interface Observed {
  observe(value: number): void
}

/** A gauge as its users see it. */
export interface LabelledGauge<Labels extends object> {
  set(labels: Labels, value: number): void
}

export type BytesLabels = { direction: 'in' | 'out'; source: 'registry' | 'peer' | 'local' | 'client' }
export type RequestLabels = { kind: string; result: string; source: string }

/** What an agent counts. Each part takes the few it needs as a dependency. */
export interface AgentMetrics {
  /** Payload bytes that came in from a source or went out to one. */
  readonly bytes: LabelledCounter<BytesLabels>
  /** Requests to the mirror by outcome. */
  readonly requests: LabelledCounter<RequestLabels>
  /** Pieces that failed verification. */
  readonly pieceFailures: LabelledCounter<{ reason: string }>
  /** Seconds from the first request for a blob to its commit. */
  readonly pullSeconds: Observed
  /** Seconds from a mirror request to its first body byte. */
  readonly firstByteSeconds: Observed
  /** `containerd`: what is shared where it lies in containerd, beside the store. */
  readonly storeBytes: LabelledGauge<{ state: 'complete' | 'partial' | 'containerd' }>
  readonly peers: LabelledGauge<{ state: string }>
  /** Requests to registries; `status` is the HTTP status or a word for none. */
  readonly registryRequests: LabelledCounter<{ registry: string; status: string }>
}

/** What a tracker counts. */
export interface TrackerMetrics {
  readonly hosts: LabelledGauge<{ state: string }>
  readonly leases: LabelledGauge<{ state: string }>
  /** Seconds to compute one plan. */
  readonly planSeconds: Observed
  /** Bytes that left registries ÷ unique bytes that the fleet got. */
  readonly fleetEgressRatio: { set(value: number): void }
}

/**
 * A registry of its own for each daemon, so that two in one process do not mix.
 * @param options.process also the usual process and runtime metrics (default true)
 */
export function createMetricsRegistry(options: { readonly process?: boolean } = {}): Registry {
  const registry = new Registry()
  if (options.process ?? true) collectDefaultMetrics({ register: registry })
  return registry
}

export function createAgentMetrics(registry: Registry): AgentMetrics {
  const at = { registers: [registry] }
  return {
    bytes: new Counter({
      ...at,
      name: `${PREFIX}bytes_total`,
      help: 'Payload bytes by direction and by where they came from or went to',
      labelNames: ['direction', 'source']
    }),
    requests: new Counter({
      ...at,
      name: `${PREFIX}requests_total`,
      help: 'Requests to the mirror by kind, result and source of the bytes',
      labelNames: ['kind', 'result', 'source']
    }),
    pieceFailures: new Counter({
      ...at,
      name: `${PREFIX}piece_failures_total`,
      help: 'Pieces that were fetched and could not be used',
      labelNames: ['reason']
    }),
    pullSeconds: new Histogram({
      ...at,
      name: `${PREFIX}pull_seconds`,
      help: 'Seconds from the first request for a blob to its commit',
      buckets: PULL_BUCKETS
    }),
    firstByteSeconds: new Histogram({
      ...at,
      name: `${PREFIX}first_byte_seconds`,
      help: 'Seconds from a request to the mirror to its first body byte',
      buckets: FIRST_BYTE_BUCKETS
    }),
    storeBytes: new Gauge({
      ...at,
      name: `${PREFIX}store_bytes`,
      help: 'Bytes in the store, and shared from containerd',
      labelNames: ['state']
    }),
    peers: new Gauge({ ...at, name: `${PREFIX}peers`, help: 'Peers by state', labelNames: ['state'] }),
    registryRequests: new Counter({
      ...at,
      name: `${PREFIX}registry_requests_total`,
      help: 'Requests to registries by registry and HTTP status',
      labelNames: ['registry', 'status']
    })
  }
}

export function createTrackerMetrics(registry: Registry): TrackerMetrics {
  const at = { registers: [registry] }
  return {
    hosts: new Gauge({ ...at, name: `${PREFIX}hosts`, help: 'Hosts of the fleet by state', labelNames: ['state'] }),
    leases: new Gauge({ ...at, name: `${PREFIX}leases`, help: 'Leases to fetch from a registry by state', labelNames: ['state'] }),
    planSeconds: new Histogram({ ...at, name: `${PREFIX}plan_seconds`, help: 'Seconds to compute one plan', buckets: PLAN_BUCKETS }),
    fleetEgressRatio: new Gauge({
      ...at,
      name: `${PREFIX}fleet_egress_ratio`,
      help: 'Bytes that left registries divided by unique bytes that the fleet got'
    })
  }
}
