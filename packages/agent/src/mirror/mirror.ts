import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { HostPort } from '@layerswarm/core/config/addresses.ts'
import { formatHostPort } from '@layerswarm/core/config/addresses.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import Fastify, { type FastifyInstance } from 'fastify'
import type { BlobIntake, PushedContent, RegistryUploads } from '../ports.ts'
import { errorReply } from './error-reply.ts'
import { Exchange } from './exchange.ts'
import { answer, type RouterDeps } from './router.ts'
import { UploadSessions } from './upload-sessions.ts'

export interface MirrorDeps extends Omit<RouterDeps, 'own' | 'push'> {
  /** What a mirror that takes pushes needs; without it, it takes none. */
  readonly push?: PushDeps | undefined
}

export interface PushDeps {
  readonly uploads: RegistryUploads
  readonly intake: BlobIntake
  readonly pushed: PushedContent
}

export interface MirrorOptions {
  /** How long running responses may go on when the mirror closes, in milliseconds. */
  readonly drainMs?: number
}

/** Within the time that a service manager gives a daemon to end, with room for the rest of it. */
const DRAIN_MS = 5_000
/** Go's clients keep idle connections for 30 to 90 s: closing first would meet their next request. */
const KEEP_ALIVE_MS = 95_000
/** A range header of a lazily pulled layer has dozens of parts, and Accept lists are long. */
const MAX_HEADER_BYTES = 32 * 1024
/** For a request's headers to arrive. Its body may be a layer that is pushed over a slow link: it has no limit but {@link IDLE_MS}. */
const HEADERS_MS = 60_000
/** A connection on which nothing moves, either way: a client that stopped reading. */
const IDLE_MS = 600_000
/** For a refused client to read its answer. */
const LINGER_MS = 1_000
/** Older docker opens a connection for every request, all layers of all images at once. */
const BACKLOG = 1024
/** Each may hold a chunk in memory, so this bounds it, far above what the pulls of one host need. */
const MAX_CONNECTIONS = 1024

/** The registry mirror that a host's container runtime asks: HTTP on top of the image service. */
export class Mirror implements AsyncDisposable {
  readonly app: FastifyInstance
  readonly #deps: MirrorDeps
  readonly #drainMs: number
  /** Responses under way by connection: more than one where a client does not wait for the first. */
  readonly #answering = new Map<Socket, number>()
  /** Connections that were refused and linger. */
  readonly #refused = new WeakSet<Socket>()
  readonly #sessions: UploadSessions | undefined
  #closed: Promise<void> | undefined

  constructor(deps: MirrorDeps, options: MirrorOptions = {}) {
    this.#deps = deps
    this.#drainMs = options.drainMs ?? DRAIN_MS
    const { push, clock, log } = deps
    this.#sessions = push && new UploadSessions({ uploads: push.uploads, intake: push.intake, clock, log })
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
      // Fastify would open a second server for the other address family, which none of the limits here hold for.
      const host = at.host === 'localhost' ? '127.0.0.1' : at.host
      await this.app.listen({ host, port: at.port, backlog: BACKLOG })
    } catch (cause) {
      throw new LayerswarmError('LISTEN_FAILED', { detail: formatHostPort(at), cause })
    }
    return this.address ?? at
  }

  /** Takes no more requests, lets running responses end for a bounded time, then cuts them. */
  async close(): Promise<void> {
    this.#closed ??= this.#drain()
    await this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #drain(): Promise<void> {
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
      await this.#sessions?.[Symbol.asyncDispose]()
    }
  }

  /**
   * Fastify owns the server's life; every request is taken in its first hook, on the raw response. Its router would
   * decode paths, its parsers would read the bodies of refused pushes, and its replies add headers: here each is exact.
   */
  #build(): FastifyInstance {
    const app = Fastify({
      logger: false,
      rewriteUrl: () => '/',
      forceCloseConnections: 'idle',
      return503OnClosing: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionTimeout: IDLE_MS,
      requestTimeout: 0,
      http: { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: HEADERS_MS },
      clientErrorHandler: (error, socket) => this.#refuse(error, socket)
    })
    const { push } = this.#deps
    const taking = push && this.#sessions && { ...push, sessions: this.#sessions }
    const router: RouterDeps = { ...this.#deps, own: () => this.address, push: taking }
    app.addHook('onRequest', async (request, reply) => {
      reply.hijack()
      const raw: IncomingMessage & { originalUrl?: string } = request.raw
      const exchange = new Exchange(raw, reply.raw, raw.originalUrl ?? raw.url ?? '')
      if (this.#closed !== undefined) exchange.always('Connection', 'close')
      this.#count(raw.socket, 1)
      await answer(router, exchange)
      this.#count(raw.socket, -1)
      // Its headers may have left before closing began, promising to keep the connection.
      if (this.#closed !== undefined) app.server.closeIdleConnections()
    })
    app.setNotFoundHandler(() => undefined)
    app.server.maxConnections = MAX_CONNECTIONS
    // Without it Node would tell a client to send the body of a push that is about to be refused.
    app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => app.server.emit('request', request, response))
    return app
  }

  #count(socket: Socket, change: number): void {
    const running = (this.#answering.get(socket) ?? 0) + change
    if (running === 0) this.#answering.delete(socket)
    else this.#answering.set(socket, running)
  }

  /**
   * What is not HTTP, or too much of it, is answered like everything else where the connection still allows it: never
   * within another response, whose body the answer would become part of. A request whose headers never end is cut,
   * since its answer would be 408, which clients repeat.
   */
  #refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    // What it still sends is garbage as well.
    if (this.#refused.has(socket)) return
    if (error.code?.startsWith('HPE_') !== true || !socket.writable || this.#answering.has(socket)) {
      socket.destroy()
      return
    }
    const code = error.code === 'HPE_HEADER_OVERFLOW' ? 'HEADERS_TOO_LARGE' : 'HEADERS_INVALID'
    const { status, headers, body } = errorReply(new LayerswarmError(code), 'repository')
    const lines = Object.entries({ ...headers, Connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
    void this.#linger(socket)
  }

  /** Closing at once, with bytes unread, would reset the connection and take the answer from the client. */
  async #linger(socket: Socket): Promise<void> {
    this.#refused.add(socket)
    const gone = new AbortController()
    socket.once('close', () => gone.abort())
    await this.#deps.clock.sleep(LINGER_MS, { signal: gone.signal }).catch(() => undefined)
    socket.destroy()
  }
}
