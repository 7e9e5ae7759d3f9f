import type { Clock } from '@layerswarm/core/clock.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { TakeOptions, Throttle } from '@layerswarm/core/rate-limiter.ts'
import type { Abortable } from '../ports.ts'
import { Authorizer, type Subject } from './authorizer.ts'
import { contentOf, readAll } from './body.ts'
import { Breaker, busyTime } from './breaker.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import type { Credential, CredentialSource } from './credentials.ts'
import { type Endpoint, repositoryPath } from './endpoint.ts'
import { type Failure, networkFailure, refusal } from './failures.ts'
import { BACKOFF_FIRST_MS, BACKOFF_MAX_MS, MAX_ATTEMPTS, MAX_REDIRECTS, MAX_TOKEN_BYTES } from './limits.ts'
import { isRedirect, redirectTarget, sameOrigin } from './redirect.ts'
import { readToken, type Token, type TokenWish, tokenRequest } from './token-server.ts'
import { discard, type HttpRequest, type HttpResponse, header, type Transport } from './transport.ts'

export interface RegistryMetrics {
  /** One HTTP exchange ended, redirect targets and token servers included; `error` when there was no answer. */
  onRequest(request: { readonly registry: string; readonly status: number | 'error' }): void
  /** Bytes of bodies as they arrive. */
  onBytes(received: { readonly registry: string; readonly bytes: number }): void
  /** Bytes of blobs as they are sent. */
  onSent(sent: { readonly registry: string; readonly bytes: number }): void
}

export interface RequestsDeps {
  readonly transport: Transport
  readonly clock: Clock
  /** 0 up to 1. */
  readonly random: () => number
  readonly credentials: CredentialSource
  readonly log: Pick<Logger, 'debug' | 'warn'>
  readonly metrics?: RegistryMetrics
  /** What may be received from registries. */
  readonly limit?: Throttle | undefined
}

/** A request of the distribution API. */
export interface Ask extends Abortable, Subject {
  readonly method: HttpRequest['method']
  /** Below the repository; or an address that the registry gave, which may lie elsewhere. */
  readonly path: string | URL
  readonly headers: Readonly<Record<string, string>>
  /** Statuses from 400 on that are answers for the caller, not failures. */
  readonly accepts?: (status: number) => boolean
  /** What to send: made anew for each attempt. */
  readonly body?: () => NonNullable<HttpRequest['body']>
  /** Most attempts, for what cannot just be done again; {@link MAX_ATTEMPTS} by default. */
  readonly attempts?: number
  readonly headersTimeoutMs?: number
}

/** After these a redirect target's address may have run out; some blob stores say 400 for an expired signature. */
const STALE_TARGET = [400, 401, 403]

/** Asks registries: authentication, redirects, retries, and peace for those that ask for it. */
export class Requests {
  readonly #deps: RequestsDeps
  readonly #userAgent: string
  readonly #breaker: Breaker
  readonly #authorizer: Authorizer

  constructor(deps: RequestsDeps, options: { readonly userAgent: string }) {
    this.#deps = deps
    this.#userAgent = options.userAgent
    this.#breaker = new Breaker(deps)
    this.#authorizer = new Authorizer({
      clock: deps.clock,
      credentials: deps.credentials,
      fetchToken: (endpoint, wish, credential) => this.#fetchToken(endpoint, wish, credential)
    })
  }

  /**
   * Asks, and gives the answer to `consume`. What breaks before `consume` is done is tried again, so it must not have
   * handed anything out by then.
   * @throws {LayerswarmError} NOT_FOUND, REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_FAILED, REGISTRY_BUSY, SIZE_MISMATCH (416)
   */
  async ask<T>(ask: Ask, consume: (answer: HttpResponse) => Promise<T>): Promise<T> {
    return this.#retrying(ask.endpoint.registry, ask, async () => {
      const answer = await this.#authorized(ask)
      if (answer.status < 400 || ask.accepts?.(answer.status) === true) return { value: await consume(answer) }
      return this.#refused(ask.endpoint.registry, answer)
    })
  }

  /** Waits before another try. @param failures how many there have been in a row */
  async backOff(failures: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock, random } = this.#deps
    const most = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (failures - 1))
    await clock.sleep(most * (0.5 + random() / 2), signal === undefined ? {} : { signal })
  }

  /** Content as it is sent, its bytes counted. */
  async *sent(registry: string, content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of content) {
      this.#deps.metrics?.onSent({ registry, bytes: chunk.byteLength })
      yield chunk
    }
  }

  /**
   * The decoded body of an answer, its bytes counted.
   * @param waits for what is large; small documents, on which a pull depends, only make what is large wait longer
   */
  content(registry: string, answer: HttpResponse, waits?: TakeOptions): AsyncIterable<Uint8Array> {
    const { metrics, limit } = this.#deps
    const received = (bytes: number) => {
      metrics?.onBytes({ registry, bytes })
      if (waits === undefined) limit?.charge(bytes)
    }
    return contentOf(registry, answer, received, waits && limit && { throttle: limit, ...waits })
  }

  async #retrying<T>(
    registry: string,
    { signal, attempts = MAX_ATTEMPTS }: Pick<Ask, 'signal' | 'attempts'>,
    attempt: () => Promise<{ readonly value: T } | Failure>
  ): Promise<T> {
    for (let tries = 1; ; tries++) {
      this.#breaker.check(registry)
      let failure: Failure
      try {
        const outcome = await attempt()
        if ('value' in outcome) return outcome.value
        failure = outcome
      } catch (error) {
        signal?.throwIfAborted()
        if (isLayerswarmError(error)) throw error
        failure = networkFailure(registry, error)
      }
      if (!failure.again || tries >= attempts) throw failure.error
      this.#deps.log.debug({ registry, tries, reason: failure.error.message }, 'registry is asked again')
      await this.backOff(tries, signal)
    }
  }

  /** One exchange, measured. */
  async #send(endpoint: Endpoint, request: HttpRequest): Promise<HttpResponse> {
    const { transport, clock, log, metrics } = this.#deps
    const { registry } = endpoint
    const { method, url } = request
    const start = clock.now()
    let status: number | 'error' = 'error'
    try {
      const answer = await transport.send(endpoint, request)
      status = answer.status
      return answer
    } finally {
      // Whoever went away has not seen the registry fail.
      if (status !== 'error' || request.signal?.aborted !== true) metrics?.onRequest({ registry, status })
      // No query and no headers: signatures and tokens stand there.
      log.debug({ registry, method, host: url.host, path: url.pathname, status, ms: Math.round(clock.now() - start) }, 'registry request')
    }
  }

  /** Sends a request with what the registry wants to see, wherever it redirects to. */
  async #authorized(ask: Ask): Promise<HttpResponse> {
    const { endpoint, signal } = ask
    const { log } = this.#deps
    const home =
      ask.path instanceof URL ? ask.path : new URL(`/v2/${repositoryPath(endpoint.registry, ask.repository)}/${ask.path}`, endpoint.base)
    let authorization = await this.#authorizer.known(ask, signal)
    let challenged = false
    // An address elsewhere that the registry gave is all there is: asking it again gives no other.
    let renewed = !sameOrigin(home, endpoint.base)
    for (;;) {
      const { answer, elsewhere } = await this.#follow(ask, home, authorization)
      if (elsewhere ? renewed || !STALE_TARGET.includes(answer.status) : challenged || answer.status !== 401) return answer
      discard(answer)
      if (elsewhere) {
        renewed = true
        log.debug({ registry: endpoint.registry, status: answer.status }, 'redirect has expired, another is asked for')
      } else {
        challenged = true
        const challenges = parseChallenges(answer.headers['www-authenticate'])
        const offers = challenges.length > 0 ? challenges : await this.#ping(endpoint, signal)
        authorization = await this.#authorizer.answer(ask, offers, authorization, signal)
      }
    }
  }

  /** Follows redirects by hand: what was meant for the registry goes to no other origin, not even on the way back. */
  async #follow(ask: Ask, home: URL, authorization: string | undefined): Promise<{ answer: HttpResponse; elsewhere: boolean }> {
    const { endpoint, method, headers, signal } = ask
    let url = home
    let elsewhere = !sameOrigin(home, endpoint.base)
    for (let hops = 0; ; hops++) {
      const sent = elsewhere || authorization === undefined ? headers : { ...headers, authorization }
      const answer = await this.#send(endpoint, {
        method,
        url,
        headers: sent,
        ...(ask.body === undefined ? {} : { body: ask.body() }),
        ...(ask.headersTimeoutMs === undefined ? {} : { headersTimeoutMs: ask.headersTimeoutMs }),
        ...(signal === undefined ? {} : { signal })
      })
      if (!isRedirect(answer.status)) return { answer, elsewhere }
      discard(answer)
      if (hops === MAX_REDIRECTS) throw new LayerswarmError('REGISTRY_FAILED', { detail: `${endpoint.registry} redirects too often` })
      url = redirectTarget(endpoint.registry, url, header(answer.headers, 'location'), endpoint.insecure)
      elsewhere ||= !sameOrigin(url, endpoint.base)
    }
  }

  /** Some registries tell how to authenticate only at the API's root. */
  async #ping(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<Challenge[]> {
    const url = new URL('/v2/', endpoint.base)
    const answer = await this.#send(endpoint, { method: 'GET', url, headers: {}, ...(signal === undefined ? {} : { signal }) })
    discard(answer)
    // The scope there is a placeholder, never the one of this repository.
    return parseChallenges(answer.headers['www-authenticate']).map(({ scheme, parameters: { scope: _, ...parameters } }) => ({
      scheme,
      parameters
    }))
  }

  async #fetchToken(endpoint: Endpoint, wish: TokenWish, credential: Credential | undefined): Promise<Token> {
    const { registry } = endpoint
    return this.#retrying(registry, {}, async () => {
      const answer = await this.#askForToken(endpoint, tokenRequest(wish, credential, this.#userAgent))
      if (answer.status === 200) {
        const body = await readAll(
          registry,
          contentOf(registry, answer, () => undefined),
          MAX_TOKEN_BYTES
        )
        return { value: readToken(registry, body) }
      }
      const failure = this.#refused(registry, answer)
      if (isLayerswarmError(failure.error, 'REGISTRY_BUSY')) return failure
      // A token server that is not found says nothing about the content.
      const code = isLayerswarmError(failure.error, 'REGISTRY_DENIED') ? 'REGISTRY_DENIED' : 'REGISTRY_FAILED'
      const detail = `the token server of ${registry} answered ${answer.status}`
      return { ...failure, error: new LayerswarmError(code, { detail }) }
    })
  }

  /** Follows a token server that has moved. What is secret goes to no other origin than the one that the registry named. */
  async #askForToken(endpoint: Endpoint, first: HttpRequest): Promise<HttpResponse> {
    let request = first
    for (let hops = 0; ; hops++) {
      const answer = await this.#send(endpoint, request)
      if (!isRedirect(answer.status)) return answer
      discard(answer)
      const moved = `the token server of ${endpoint.registry}`
      if (hops === MAX_REDIRECTS) throw new LayerswarmError('REGISTRY_FAILED', { detail: `${moved} redirects too often` })
      const url = redirectTarget(moved, request.url, header(answer.headers, 'location'), endpoint.insecure)
      if (sameOrigin(url, request.url)) {
        request = { ...request, url }
      } else if (request.method === 'GET') {
        const { authorization: _, ...headers } = request.headers
        request = { ...request, url, headers }
      } else {
        throw new LayerswarmError('REGISTRY_DENIED', { detail: `${moved} redirects to ${url.host}, where no refresh token is sent` })
      }
    }
  }

  #refused(registry: string, answer: HttpResponse): Failure {
    discard(answer)
    const wait = busyTime(answer.status, header(answer.headers, 'retry-after'), header(answer.headers, 'date'))
    if (wait === undefined) return refusal(registry, answer.status)
    const error = this.#breaker.trip(registry, wait)
    this.#deps.log.warn({ registry, status: answer.status, seconds: Math.ceil(wait / 1000) }, 'registry limits requests')
    return { error, again: false }
  }
}
