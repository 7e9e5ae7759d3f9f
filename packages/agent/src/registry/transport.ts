import type { Readable } from 'node:stream'
import { Agent } from 'undici'
import type { Abortable } from '../ports.ts'
import { BODY_TIMEOUT_MS, CONNECT_TIMEOUT_MS, CONNECTIONS_PER_ORIGIN, DRAIN_BYTES, HEADERS_TIMEOUT_MS, KEEP_ALIVE_MS } from './limits.ts'

export interface TransportOptions {
  readonly userAgent: string
  readonly connectTimeoutMs?: number
  readonly headersTimeoutMs?: number
  readonly bodyTimeoutMs?: number
  readonly connectionsPerOrigin?: number
}

export interface HttpRequest extends Abortable {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
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
  readonly #agent: Agent
  readonly #userAgent: string

  constructor(options: TransportOptions) {
    this.#userAgent = options.userAgent
    this.#agent = new Agent({
      connections: options.connectionsPerOrigin ?? CONNECTIONS_PER_ORIGIN,
      connect: { timeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS },
      headersTimeout: options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS,
      bodyTimeout: options.bodyTimeoutMs ?? BODY_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // Streams of one HTTP/2 connection share its window and its fate; separate connections do not.
      allowH2: false
    })
  }

  /**
   * Resolves once the headers are here. The signal also ends the body, and its connection.
   * @throws what the network or undici throws, or the signal's reason
   */
  async send({ method, url, headers, body, signal }: HttpRequest): Promise<HttpResponse> {
    signal?.throwIfAborted()
    const answer = this.#agent.request({
      origin: url.origin,
      path: url.pathname + url.search,
      method,
      headers: { ...headers, 'user-agent': this.#userAgent, 'accept-encoding': 'identity' },
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal })
    })
    // While a request waits for a connection, undici notes an abort but does not tell.
    const reply = await orAborted(answer, signal)
    // A body that breaks while nobody reads it must not end the process; a reader still sees the error.
    reply.body.on('error', () => undefined)
    return { method, status: reply.statusCode, headers: reply.headers, body: reply.body }
  }

  /** Breaks off everything under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy()
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
