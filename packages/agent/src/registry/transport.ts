import type { Readable } from 'node:stream'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable } from '../ports.ts'
import { Connections, type ConnectionsDeps } from './connections.ts'
import type { Endpoint } from './endpoint.ts'
import { BODY_TIMEOUT_MS, CONNECT_TIMEOUT_MS, CONNECTIONS_PER_ORIGIN, DRAIN_BYTES, HEADERS_TIMEOUT_MS, KEEP_ALIVE_MS } from './limits.ts'

export interface TransportOptions {
  readonly userAgent: string
  readonly connectTimeoutMs?: number
  readonly headersTimeoutMs?: number
  readonly bodyTimeoutMs?: number
  readonly connectionsPerOrigin?: number
}

export interface HttpRequest extends Abortable {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** Sent as it comes; the headers say how long it is. */
  readonly body?: string | Uint8Array | Readable
  /** How long the answer's head may take once nothing more is sent, ms; the transport's own limit by default. */
  readonly headersTimeoutMs?: number
}

export type HttpHeaders = Readonly<Record<string, string | string[] | undefined>>

export interface HttpResponse {
  readonly method: HttpRequest['method']
  readonly status: number
  readonly headers: HttpHeaders
  /** To be read to its end, or given to {@link discard}. */
  readonly body: Readable
}

/** One HTTP exchange at a time, over pools of connections kept per origin. No redirects, no retries. */
export class Transport implements AsyncDisposable {
  readonly #connections: Connections
  readonly #userAgent: string

  constructor(deps: ConnectionsDeps, options: TransportOptions) {
    this.#userAgent = options.userAgent
    this.#connections = new Connections(deps, {
      connectTimeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      pool: {
        connections: options.connectionsPerOrigin ?? CONNECTIONS_PER_ORIGIN,
        headersTimeout: options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS,
        bodyTimeout: options.bodyTimeoutMs ?? BODY_TIMEOUT_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        // Streams of one HTTP/2 connection share its window and its fate; separate connections do not.
        allowH2: false
      }
    })
  }

  /**
   * Resolves once the headers are here. The signal also ends the body, and its connection.
   * @param endpoint the registry on whose behalf: it decides who is trusted at the address
   * @throws what the network or undici throws, or the signal's reason; {LayerswarmError} REGISTRY_UNREACHABLE for
   *   certificates that are no good and for a proxy that refuses
   */
  async send(endpoint: Endpoint, { method, url, headers, body, headersTimeoutMs, signal }: HttpRequest): Promise<HttpResponse> {
    signal?.throwIfAborted()
    const material = await this.#connections.material(endpoint, url)
    signal?.throwIfAborted()
    const route = this.#connections.route(endpoint, url, material)
    const answer = route.dispatcher.request({
      origin: route.origin,
      path: route.path,
      method,
      headers: { ...headers, ...route.headers, 'user-agent': this.#userAgent, 'accept-encoding': 'identity' },
      ...(body === undefined ? {} : { body }),
      ...(headersTimeoutMs === undefined ? {} : { headersTimeout: headersTimeoutMs }),
      ...(signal === undefined ? {} : { signal })
    })
    // While a request waits for a connection, undici notes an abort but does not tell.
    const reply = await orAborted(answer, signal)
    // A body that breaks while nobody reads it must not end the process; a reader still sees the error.
    reply.body.on('error', () => undefined)
    const response = { method, status: reply.statusCode, headers: reply.headers, body: reply.body }
    if (route.proxy === undefined || response.status !== 407) return response
    discard(response)
    throw new LayerswarmError('REGISTRY_UNREACHABLE', { detail: `the proxy ${route.proxy.url.host} answered 407 for ${url.host}` })
  }

  /** Breaks off everything under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connections[Symbol.asyncDispose]()
  }
}

/** Waits for shared work without stopping it. @throws the signal's reason as soon as it fires */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = () => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** Gets rid of a body that nobody wants; a short one is read, so that its connection serves again. */
export function discard({ method, headers, body }: HttpResponse): void {
  if (method === 'HEAD' || Number(headers['content-length'] ?? Number.POSITIVE_INFINITY) <= DRAIN_BYTES) body.resume()
  else body.destroy()
}

/** A header's value, or the first of several. */
export function header(headers: HttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value : value?.[0]
}
