import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { Agent, buildConnector, type Dispatcher } from 'undici'
import type { Certificates, TlsMaterial } from './certificates.ts'
import type { Endpoint } from './endpoint.ts'
import type { Proxies, ProxyServer } from './proxies.ts'
import { sameOrigin } from './redirect.ts'
import { openTunnel } from './tunnel.ts'

export interface ConnectionsDeps {
  readonly proxies: Pick<Proxies, 'for'>
  readonly certificates: Pick<Certificates, 'of'>
}

export interface ConnectionsOptions {
  readonly connectTimeoutMs: number
  /** What every pool has in common. */
  readonly pool: Omit<Agent.Options, 'connect'>
}

/** How a request travels. */
export interface Route {
  readonly dispatcher: Dispatcher
  /** Where to connect. */
  readonly origin: string
  /** The request's target, as it stands in its first line. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Plain HTTP is handed to a proxy, which may answer for itself. */
  readonly proxy: ProxyServer | undefined
}

/**
 * Pools of connections: over which proxy they go, whom they trust, and who this host is to them. A registry's own
 * authorities are also trusted where it sends us (its token server, its blob store); its client certificate and an
 * operator's leave not to verify count for the registry itself only.
 */
export class Connections implements AsyncDisposable {
  readonly #deps: ConnectionsDeps
  readonly #options: ConnectionsOptions
  readonly #common: Agent
  /** Plain HTTP through proxies: what such a pool connects to is the proxy. */
  readonly #forwarding: Agent
  readonly #special = new Map<string, { readonly id: string; readonly agent: Agent }>()
  /** Replaced, with requests still under way. */
  readonly #closing = new Set<Agent>()
  readonly #stop = new AbortController()

  constructor(deps: ConnectionsDeps, options: ConnectionsOptions) {
    this.#deps = deps
    this.#options = options
    const { connectTimeoutMs: timeout, pool } = options
    this.#common = new Agent({ ...pool, connect: this.#connector(systemContext) })
    const direct = lazy(() => buildConnector({ allowH2: false, timeout, secureContext: systemContext() }))
    this.#forwarding = new Agent({ ...pool, connect: (target, callback) => direct()(target, callback) })
  }

  /** What {@link route} needs to know. */
  async material(endpoint: Endpoint, url: URL): Promise<TlsMaterial | undefined> {
    return url.protocol === 'https:' ? await this.#deps.certificates.of(endpoint) : undefined
  }

  /**
   * To be used at once: the next call may close the pool for what has not been sent.
   * @throws {LayerswarmError} REGISTRY_UNREACHABLE for certificates that are no good
   */
  route(endpoint: Endpoint, url: URL, material: TlsMaterial | undefined): Route {
    const path = url.pathname + url.search
    if (url.protocol === 'https:') {
      return { dispatcher: this.#dispatcher(endpoint, url, material), origin: url.origin, path, headers: {}, proxy: undefined }
    }
    const proxy = this.#deps.proxies.for(url)
    if (proxy === undefined) return { dispatcher: this.#common, origin: url.origin, path, headers: {}, proxy }
    const headers = { host: url.host, ...proxy.headers }
    return { dispatcher: this.#forwarding, origin: proxy.url.origin, path: url.origin + path, headers, proxy }
  }

  /** Breaks off everything under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new LayerswarmError('STOPPING'))
    const special = [...this.#special.values()].map(({ agent }) => agent)
    await Promise.all([this.#common, this.#forwarding, ...special, ...this.#closing].map((agent) => agent.destroy()))
  }

  #dispatcher(endpoint: Endpoint, url: URL, material: TlsMaterial | undefined): Agent {
    const own = sameOrigin(url, endpoint.base)
    if (material === undefined || (!own && material.ca.length === 0)) return this.#common
    const key = `${endpoint.registry} ${own}`
    const known = this.#special.get(key)
    if (known?.id === material.id) return known.agent
    const context = contextOf(endpoint, own ? material : { ...material, client: undefined })
    const agent = new Agent({ ...this.#options.pool, connect: this.#connector(() => context, !own || !material.skipVerify) })
    this.#special.set(key, { id: material.id, agent })
    if (known !== undefined) this.#retire(known.agent)
    return agent
  }

  #retire(agent: Agent): void {
    this.#closing.add(agent)
    agent
      .close()
      .catch(() => undefined)
      .finally(() => this.#closing.delete(agent))
  }

  #connector(secureContext: () => SecureContext, rejectUnauthorized = true): buildConnector.connector {
    const timeout = this.#options.connectTimeoutMs
    const plain = buildConnector({ allowH2: false, timeout })
    const secure = lazy(() => buildConnector({ allowH2: false, timeout, rejectUnauthorized, secureContext: secureContext() }))
    const signal = this.#stop.signal
    return (target, callback) => {
      if (target.protocol !== 'https:') return plain(target, callback)
      const url = new URL(`https://${target.host ?? target.hostname}`)
      const proxy = this.#deps.proxies.for(url)
      if (proxy === undefined) return secure()(target, callback)
      const authority = `${url.hostname}:${url.port || 443}`
      // The proxy connects on our behalf: time for both steps.
      openTunnel(proxy, authority, { timeoutMs: 2 * timeout, secureContext: systemContext, signal }).then(
        (httpSocket) => secure()({ ...target, httpSocket }, callback),
        (error: Error) => callback(error, null)
      )
    }
  }
}

/** The authorities that Node ships, those of the system, and NODE_EXTRA_CA_CERTS. */
const trusted = lazy(() => [...new Set([...getCACertificates('default'), ...getCACertificates('system')])])
/** One for all connections: reading some hundred certificates takes longer than a handshake. */
const systemContext = lazy(() => createSecureContext({ ca: trusted() }))

function contextOf({ registry }: Endpoint, { ca, client }: TlsMaterial): SecureContext {
  try {
    return createSecureContext({ ca: [...trusted(), ...ca], ...client })
  } catch (error) {
    throw new LayerswarmError('REGISTRY_UNREACHABLE', {
      detail: `the certificates for ${registry} are not usable: ${describeError(error)}`
    })
  }
}

function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
