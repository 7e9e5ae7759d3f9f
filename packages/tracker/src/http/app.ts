import type { Clock } from '@layerswarm/core/clock.ts'
import type { MetricsRegistry, TrackerMetrics } from '@layerswarm/core/metrics.ts'
import fastify, { type FastifyInstance } from 'fastify'
import { copiesOf, countHosts, countLeases, viewFleet } from '../state/fleet-view.ts'
import type { FleetState } from '../state/model.ts'
import { frontPage } from './front-page.ts'

export interface AppDeps {
  readonly state: FleetState
  /** The tracker's peer id. */
  readonly id: string
  /** Its multiaddrs, `/p2p/ID` included; empty until it accepts agents. */
  readonly addresses: () => readonly string[]
  readonly clock: Clock
  readonly registry: MetricsRegistry
  readonly metrics: TrackerMetrics
}

/** The tracker's HTTP side, read-only. Builds it and does not listen. */
export function createApp(deps: AppDeps): FastifyInstance {
  const { state, id, addresses, clock, registry, metrics } = deps
  const app = fastify({ logger: false })
  app.get('/healthz', () => ({ status: 'ok' }))
  app.get('/readyz', (_, reply) => {
    const ready = addresses().length > 0
    return reply.code(ready ? 200 : 503).send({ ready, id, addresses: addresses(), hosts: state.hosts.size })
  })
  app.get('/metrics', async (_, reply) => {
    for (const [label, value] of Object.entries(countHosts(state))) metrics.hosts.set({ state: label }, value)
    for (const [label, value] of Object.entries(countLeases(state))) metrics.leases.set({ state: label }, value)
    metrics.fleetEgressRatio.set(copiesOf(state))
    return reply.type(registry.contentType).send(await registry.metrics())
  })
  app.get('/v1/fleet', () => viewFleet(state, id, clock.now()))
  app.get('/', (_, reply) => reply.type('text/html; charset=utf-8').send(frontPage(id, addresses(), state)))
  return app
}
