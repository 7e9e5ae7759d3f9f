import type { AddressInfo } from 'node:net'
import { toldError } from '@layerswarm/core/api/local-api.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { checkHost } from '@layerswarm/core/host-guard.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { MetricsRegistry, TrackerMetrics } from '@layerswarm/core/metrics.ts'
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify'
import { z } from 'zod'
import type { Seeds } from '../seeds/seeds.ts'
import { PAGE_ENTRIES, pageAt } from '../state/fleet-page.ts'
import { copiesOf, countHosts, countLeases, viewFleet } from '../state/fleet-view.ts'
import type { FleetState } from '../state/model.ts'
import { frontPage } from './front-page.ts'
import { checkOrigin, isChange } from './guards.ts'
import { parsed } from './parsed.ts'
import { addSeedRoutes } from './seed-routes.ts'
import { checkToken } from './token.ts'

export interface AppDeps {
  readonly state: FleetState
  /** The tracker's peer id. */
  readonly id: string
  /** Its multiaddrs, `/p2p/ID` included; empty until it accepts agents. */
  readonly addresses: () => readonly string[]
  readonly clock: Clock
  readonly registry: MetricsRegistry
  readonly metrics: TrackerMetrics
  readonly seeds: Pick<Seeds, 'begin' | 'cancel' | 'list' | 'view'>
  /** What a request that changes something has to show. */
  readonly token: string
  readonly log: Logger
}

const fleetQuery = z.strictObject({
  cursor: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(PAGE_ENTRIES).optional()
})

/** An image, and names of hosts. */
const MAX_BODY_BYTES = 512 * 1024

/** Commands that follow seeds, scrapers and browsers; agents need sockets too. */
export const MAX_CONNECTIONS = 512

const STATUSES: Readonly<Record<string, number>> = {
  TOKEN_INVALID: 401,
  HOST_NOT_ALLOWED: 403,
  ORIGIN_NOT_ALLOWED: 403,
  PATH_UNKNOWN: 404,
  SEED_UNKNOWN: 404
}

/**
 * The tracker's HTTP side. Who may connect may read; what changes something needs the token, and from a browser this
 * site's own page. Builds it and does not listen.
 */
export function createApp(deps: AppDeps): FastifyInstance {
  const { state, id, addresses, clock, registry, metrics, seeds, token, log } = deps
  // An answer takes milliseconds: who has not said all of a request when the tracker stops would keep it from stopping.
  const app = fastify({ logger: false, bodyLimit: MAX_BODY_BYTES, forceCloseConnections: true })
  app.server.maxConnections = MAX_CONNECTIONS
  app.removeContentTypeParser('text/plain')
  app.addHook('onRequest', async ({ method, headers }) => {
    const bound = app.server.address() as AddressInfo | null
    checkHost(bound?.address ?? '', headers.host)
    if (!isChange(method)) return
    checkOrigin(headers.origin, headers.host)
    checkToken(token, headers.authorization)
  })
  app.setNotFoundHandler(() => {
    throw new LayerswarmError('PATH_UNKNOWN')
  })
  app.setErrorHandler((error: FastifyError | LayerswarmError, _request, reply) => sendError(reply, error, log))
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
  app.get('/v1/fleet', (request) => {
    const { cursor, limit } = parsed(fleetQuery, request.query)
    return viewFleet(state, id, clock.now(), pageAt(cursor, limit))
  })
  app.get('/', (_, reply) => reply.type('text/html; charset=utf-8').send(frontPage(id, addresses(), state, seeds.list())))
  addSeedRoutes(app, seeds)
  return app
}

function sendError(reply: FastifyReply, error: FastifyError | LayerswarmError, log: Logger): FastifyReply {
  if (error instanceof LayerswarmError) {
    if (error.code === 'TOKEN_INVALID') reply.header('www-authenticate', 'Bearer realm="layerswarm"')
    return reply.code(STATUSES[error.code] ?? (error.blame === 'caller' ? 400 : 503)).send({ error: toldError(error) })
  }
  const status = error.statusCode ?? 500
  if (status < 500) return reply.code(status).send({ error: toldError(new LayerswarmError('REQUEST_INVALID', { detail: error.message })) })
  log.error({ err: error }, 'a request failed')
  return reply.code(500).send({ error: toldError(error) })
}
