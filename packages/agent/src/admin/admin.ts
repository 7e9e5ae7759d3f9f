import type { AddressInfo } from 'node:net'
import { CONTENT_PATH } from '@layerswarm/core/api/images-api.ts'
import { PULL_PATH, toldError } from '@layerswarm/core/api/local-api.ts'
import { STATUS_PATH } from '@layerswarm/core/api/status-api.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import { formatHostPort, type HostPort } from '@layerswarm/core/config/addresses.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { checkHost } from '@layerswarm/core/host-guard.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { MetricsRegistry } from '@layerswarm/core/metrics.ts'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify'
import type { BlobStore, ImageService, LocalImageService } from '../ports.ts'
import { checkCaller } from './callers.ts'
import { addImageRoutes } from './image-routes.ts'
import { readPullRequest, streamPull } from './pull-stream.ts'

/** What readiness is made of. The tracker is told but not needed: pulls go on without it. */
export interface Readiness {
  /** The mirror answers. */
  readonly mirror: boolean
  /** The store is open. */
  readonly store: boolean
  readonly tracker: { readonly connected: boolean }
}

export interface AdminDeps {
  readonly images: Pick<ImageService, 'pull'>
  readonly local: LocalImageService
  readonly store: Pick<BlobStore, 'list' | 'stat'>
  readonly metrics: Pick<MetricsRegistry, 'metrics' | 'contentType'>
  readonly readiness: () => Readiness
  /** What the agent does now, as `/v1/status` gives it: anything that JSON can hold. */
  readonly status: () => object | Promise<object>
  readonly clock: Clock
  readonly log: Logger
}

export interface AdminOptions {
  /** How long running requests may go on when it closes, in milliseconds. */
  readonly drainMs?: number
}

/** Pulls end at once with an error line; the rest is short. */
const DRAIN_MS = 2_000
/** An image name and a list of platforms. */
const MAX_BODY_BYTES = 64 * 1024
/** A few commands and a metrics scraper. */
const MAX_CONNECTIONS = 128

const READING = new Set(['GET', 'HEAD'])

const STATUSES: Readonly<Record<string, number>> = {
  HOST_NOT_ALLOWED: 403,
  LOCAL_ONLY: 403,
  ORIGIN_NOT_ALLOWED: 403,
  PATH_UNKNOWN: 404,
  BLOB_UNKNOWN: 404,
  MANIFEST_UNKNOWN: 404
}

/** Health, metrics, and what the command line asks of this host's agent. */
export class Admin implements AsyncDisposable {
  readonly app: FastifyInstance
  readonly #deps: AdminDeps
  readonly #drainMs: number
  readonly #stopping = new AbortController()
  #closed: Promise<void> | undefined

  constructor(deps: AdminDeps, options: AdminOptions = {}) {
    this.#deps = deps
    this.#drainMs = options.drainMs ?? DRAIN_MS
    this.app = this.#build()
  }

  /** Where it listens; undefined before {@link listen} and after {@link close}. */
  get address(): HostPort | undefined {
    const bound = this.app.server.address() as AddressInfo | null
    return bound === null ? undefined : { host: bound.address, port: bound.port }
  }

  /** @throws {LayerswarmError} LISTEN_FAILED */
  async listen(at: HostPort): Promise<HostPort> {
    try {
      // Fastify would open a second server for the other address family.
      await this.app.listen({ host: at.host === 'localhost' ? '127.0.0.1' : at.host, port: at.port })
    } catch (cause) {
      throw new LayerswarmError('LISTEN_FAILED', { detail: formatHostPort(at), cause })
    }
    return this.address ?? at
  }

  /** Ends running pulls, then closes. */
  async close(): Promise<void> {
    this.#closed ??= this.#drain()
    await this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #drain(): Promise<void> {
    this.#stopping.abort(new LayerswarmError('STOPPING'))
    const drained = new AbortController()
    const cut = this.#deps.clock.sleep(this.#drainMs, { signal: drained.signal }).then(
      () => this.app.server.closeAllConnections(),
      () => undefined
    )
    try {
      await this.app.close()
    } finally {
      drained.abort()
      await cut
    }
  }

  #build(): FastifyInstance {
    const { images, local, store, metrics, readiness, status, log } = this.#deps
    const app = Fastify({ logger: false, bodyLimit: MAX_BODY_BYTES, forceCloseConnections: 'idle' })
    app.server.maxConnections = MAX_CONNECTIONS
    // A browser sends JSON to another site only after asking, which nothing here answers; plain text it just sends.
    app.removeContentTypeParser('text/plain')
    app.addHook('onRequest', async ({ headers, method, routeOptions, socket }) => {
      checkHost(this.address?.host ?? '', headers.host)
      // The route's own path: that of the request may be written in many ways.
      if (!READING.has(method) || routeOptions.url?.startsWith(CONTENT_PATH)) checkCaller(socket)
      // Browsers name the page with every request that may change something, and no page belongs here.
      if (headers.origin !== undefined && method !== 'GET') {
        throw new LayerswarmError('ORIGIN_NOT_ALLOWED', { detail: JSON.stringify(headers.origin.slice(0, 100)) })
      }
    })
    app.setNotFoundHandler(() => {
      throw new LayerswarmError('PATH_UNKNOWN')
    })
    app.setErrorHandler((error: FastifyError | LayerswarmError, _request, reply) => sendError(reply, error, log))

    app.get('/healthz', async () => ({ status: 'ok' }))
    app.get('/readyz', async (_request, reply) => {
      const parts = readiness()
      const ready = parts.mirror && parts.store
      return reply.code(ready ? 200 : 503).send({ ready, ...parts })
    })
    app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics()))
    app.get(STATUS_PATH, async () => await status())
    addImageRoutes(app, { local, store, stopping: this.#stopping.signal })
    app.post(PULL_PATH, async (request, reply) => {
      const wanted = readPullRequest(request.body)
      reply.hijack()
      reply.raw.setHeader('Connection', 'close')
      await streamPull(images, wanted, reply.raw, this.#stopping.signal)
    })
    return app
  }
}

function sendError(reply: FastifyReply, error: FastifyError | LayerswarmError, log: Logger): FastifyReply {
  if (error instanceof LayerswarmError) {
    return reply.code(STATUSES[error.code] ?? (error.blame === 'caller' ? 400 : 503)).send({ error: toldError(error) })
  }
  const status = error.statusCode ?? 500
  if (status < 500) return reply.code(status).send({ error: toldError(new LayerswarmError('REQUEST_INVALID', { detail: error.message })) })
  // What a client that went away has ended is no fault.
  if (!reply.raw.destroyed) log.error({ err: error }, 'admin request failed')
  return reply.code(500).send({ error: toldError(error) })
}
