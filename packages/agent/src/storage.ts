/** What a data directory holds and how registries are reached: the same with and without a daemon. */
import { mkdir } from 'node:fs/promises'
import { systemClock } from '@layerswarm/core/clock.ts'
import { hostFacts } from '@layerswarm/core/config/options.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import { type AgentMetrics, createAgentMetrics, createMetricsRegistry } from '@layerswarm/core/metrics.ts'
import { VERSION } from '@layerswarm/core/version.ts'
import type { AgentConfig } from './config.ts'
import { defaultMaxBytes } from './disk-bound.ts'
import { type RateLimits, rateLimits } from './rate-limits.ts'
import { authPaths } from './registry/auth-paths.ts'
import { UndiciRegistryClient } from './registry/registry-client.ts'
import { StoredCredentials } from './registry/stored-credentials.ts'
import type { ForeignStore } from './store/foreign-store.ts'
import { FsBlobStore } from './store/fs-blob-store.ts'
import { Upkeep } from './store/upkeep.ts'

const USER_AGENT = `layerswarm/${VERSION}`

export interface Storage extends AsyncDisposable {
  readonly store: FsBlobStore
  readonly registry: UndiciRegistryClient
  readonly overTls: (registry: string) => boolean
  readonly limits: RateLimits
  readonly metrics: AgentMetrics
  readonly metricsRegistry: ReturnType<typeof createMetricsRegistry>
}

/** @throws {LayerswarmError} STORE_BUSY, STORE_FAILED, STORE_FULL */
export async function openStorage(config: AgentConfig, log: Logger): Promise<Storage> {
  await using parts = new AsyncDisposableStack()
  const metricsRegistry = createMetricsRegistry()
  const metrics = createAgentMetrics(metricsRegistry)
  // Blobs of private repositories lie here.
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw new LayerswarmError('STORE_FAILED', { detail: config.dataDir, cause })
  })
  const maxBytes = config.maxDisk ?? (await defaultMaxBytes(config.dataDir))
  const store = parts.use(await FsBlobStore.open({ dataDir: config.dataDir, maxBytes }, { log }))
  parts.use(new Upkeep({ store, clock: systemClock, log }))
  const { env, home } = hostFacts()
  const files = config.registryAuth === 'none' ? [] : authPaths({ env, home, uid: process.getuid?.() })
  const named = config.registryAuth === 'none' ? undefined : config.registryAuth
  const credentials = parts.use(new StoredCredentials({ clock: systemClock, log }, { named, files, env }))
  const limits = rateLimits(config, systemClock)
  const registries = new Map(config.registry.map((host) => [host, { insecure: config.insecureRegistry.includes(host) }]))
  const registry = parts.use(
    new UndiciRegistryClient(
      {
        log,
        credentials,
        limit: limits.registry,
        metrics: {
          onRequest: ({ registry, status }) => metrics.registryRequests.inc({ registry, status: String(status) }),
          onBytes: ({ bytes }) => metrics.bytes.inc({ direction: 'in', source: 'registry' }, bytes),
          onSent: ({ bytes }) => metrics.bytes.inc({ direction: 'out', source: 'registry' }, bytes)
        }
      },
      { registries, certsDirs: config.certsDir, env, userAgent: USER_AGENT }
    )
  )
  const open = parts.move()
  const overTls = (host: string) => registries.get(host)?.insecure === false
  return { store, registry, overTls, limits, metrics, metricsRegistry, [Symbol.asyncDispose]: () => open.disposeAsync() }
}

/** The metrics, with what is only worth counting when somebody asks. */
export function scraped(
  { store, metrics, metricsRegistry }: Storage,
  containerd: Pick<ForeignStore, 'usage'>
): Pick<Storage['metricsRegistry'], 'metrics' | 'contentType'> {
  return {
    contentType: metricsRegistry.contentType,
    metrics: async () => {
      const { complete, partial } = store.usage()
      metrics.storeBytes.set({ state: 'complete' }, complete)
      metrics.storeBytes.set({ state: 'partial' }, partial)
      metrics.storeBytes.set({ state: 'containerd' }, containerd.usage().offered.bytes)
      return await metricsRegistry.metrics()
    }
  }
}
