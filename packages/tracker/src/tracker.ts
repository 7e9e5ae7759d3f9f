import { mkdir } from 'node:fs/promises'
import { type Clock, systemClock } from '@layerswarm/core/clock.ts'
import { formatHostPort, type HostPort } from '@layerswarm/core/config/addresses.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import { createMetricsRegistry, createTrackerMetrics } from '@layerswarm/core/metrics.ts'
import { readClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import { loadIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode } from '@layerswarm/core/p2p/node.ts'
import { VERSION } from '@layerswarm/core/version.ts'
import type { TrackerConfig } from './config.ts'
import { createApp } from './http/app.ts'
import { loadToken } from './http/token.ts'
import { AgentEndpoint } from './peers/agent-endpoint.ts'
import { createPlanner } from './planner/step.ts'
import { Seeds } from './seeds/seeds.ts'
import { LeaseMarker } from './state/lease-marker.ts'

/** Agents of a fleet that connect to one tracker; each takes a socket and some tens of KiB. */
const MAX_AGENTS = 20_000
/** Leases of one millisecond of a tracker's life at most: serials then grow from one life to the next. */
const SERIALS_PER_MS = 1000

export interface RunningTracker extends AsyncDisposable {
  /** Its peer id. */
  readonly id: string
  /** Where agents reach it: multiaddrs with `/p2p/ID`. */
  readonly p2p: readonly string[]
  readonly httpUrl: string
}

/**
 * Starts a tracker. Its identity, its token, its seeds and whom it knows lie in the data directory; all else it hears from agents.
 * @throws {LayerswarmError} CLUSTER_KEY_INVALID, IDENTITY_INVALID, TOKEN_FAILED, LISTEN_FAILED
 */
export async function startTracker(
  config: Pick<TrackerConfig, 'p2pListen' | 'httpListen' | 'dataDir' | 'clusterKey'>,
  deps: { readonly log: Logger; readonly clock?: Clock }
): Promise<RunningTracker> {
  const { log, clock = systemClock } = deps
  await using parts = new AsyncDisposableStack()
  await mkdir(config.dataDir, { recursive: true })
  const identity = await loadIdentity(config.dataDir)
  const token = await loadToken(config.dataDir)
  const cluster = config.clusterKey === undefined ? undefined : await readClusterKey(config.clusterKey)
  if (cluster?.warning !== undefined) log.warn(cluster.warning)

  const marker = await LeaseMarker.load(config.dataDir, log)
  parts.defer(() => marker.settled())
  const state = createPlanner(
    { random: Math.random, version: VERSION, firstSerial: Date.now() * SERIALS_PER_MS, restarted: marker.present },
    clock.now()
  )
  const registry = createMetricsRegistry()
  const metrics = createTrackerMetrics(registry)

  const node = parts.use(
    await createNode(
      {
        identity,
        version: VERSION,
        listen: config.p2pListen,
        maxConnections: MAX_AGENTS,
        // Small messages on thousands of connections.
        bulk: false,
        ...(cluster === undefined ? {} : { clusterKey: cluster.key })
      },
      { log }
    )
  )
  const p2p = node.addresses.map((address) => `${address}/p2p/${identity.id}`)
  // Seeds come first: the endpoint tells them of hosts until its end.
  const late: { endpoint?: AgentEndpoint } = {}
  const seeds = parts.use(await Seeds.open(config.dataDir, { send: (host, message) => late.endpoint?.send(host, message), clock, log }))
  const onTick = () => {
    marker.update(
      [...state.campaigns].some(({ leased }) => leased.size > 0),
      clock.now()
    )
    seeds.tick()
  }
  const endpoint = parts.use(new AgentEndpoint({ node, identity, state, clock, log, metrics, seeds, onTick }))
  late.endpoint = endpoint
  await endpoint.open()

  const app = createApp({ state, id: identity.id, addresses: () => p2p, clock, registry, metrics, seeds, token, log })
  parts.defer(() => app.close())
  const httpUrl = await listen(app, config.httpListen)

  log.info({ id: identity.id, p2p, http: httpUrl, fleet: cluster === undefined ? 'open' : 'keyed' }, 'tracker ready')
  const running = parts.move()
  return { id: identity.id, p2p, httpUrl, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

async function listen(app: ReturnType<typeof createApp>, { host, port }: HostPort): Promise<string> {
  try {
    return await app.listen({ host, port })
  } catch (cause) {
    throw new LayerswarmError('LISTEN_FAILED', { detail: `${formatHostPort({ host, port })}: ${describeError(cause)}`, cause })
  }
}
