import { BlockList, isIP } from 'node:net'
import { isLoopback } from '@layerswarm/core/config/addresses.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { basicAuthorization } from './basic.ts'

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }

type Matches = (host: string, port: string) => boolean

export interface ProxyServer {
  readonly url: URL
  /** For the proxy alone: who this host is there. */
  readonly headers: Readonly<Record<string, string>>
}

/**
 * Which proxy leads to an address, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY as Go's programs (containerd, docker, podman)
 * read them: upper case before lower case; NO_PROXY lists hosts with what is below them, `.suffix` and `*.suffix` for
 * what is below alone, addresses, CIDR ranges, each but the last with `:port` where it is for one port, and `*` for all.
 * Loopback is never proxied.
 */
export class Proxies {
  readonly #https: ProxyServer | undefined
  readonly #http: ProxyServer | undefined
  readonly #none: readonly Matches[]

  /** @throws {LayerswarmError} CONFIG_INVALID for a proxy that is no http or https address */
  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#https = proxyOf(env, 'HTTPS_PROXY')
    this.#http = proxyOf(env, 'HTTP_PROXY')
    const none = env.NO_PROXY || env.no_proxy || ''
    this.#none = none
      .split(/[\s,]+/)
      .filter((entry) => entry !== '')
      .map((entry) => matcherOf(entry.toLowerCase()))
  }

  /** The proxy to an http or https address; undefined to go there directly. */
  for(url: URL): ProxyServer | undefined {
    const proxy = url.protocol === 'https:' ? this.#https : this.#http
    if (proxy === undefined) return undefined
    const host = bareHost(url.hostname).replace(/\.$/, '')
    if (isLoopback(host) || host.endsWith('.localhost')) return undefined
    const port = url.port || (DEFAULT_PORTS[url.protocol] ?? '')
    return this.#none.some((matches) => matches(host, port)) ? undefined : proxy
  }
}

function proxyOf(env: Readonly<Record<string, string | undefined>>, name: 'HTTPS_PROXY' | 'HTTP_PROXY'): ProxyServer | undefined {
  const text = env[name] || env[name.toLowerCase()]
  if (!text) return undefined
  const url = URL.parse(text.includes('://') ? text : `http://${text}`)
  try {
    if (url !== null && url.protocol in DEFAULT_PORTS) return { url, headers: authorizationOf(url) }
  } catch {
    // A user name that is not percent-encoded.
  }
  // The text itself is not repeated: a password may stand in it.
  throw new LayerswarmError('CONFIG_INVALID', { detail: `${name} in the environment is not a valid http:// or https:// address` })
}

function authorizationOf({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  return { 'proxy-authorization': basicAuthorization(decodeURIComponent(username), decodeURIComponent(password)) }
}

function matcherOf(entry: string): Matches {
  if (entry === '*') return () => true
  const range = /^(.+)\/(\d+)$/.exec(entry)
  if (range !== null) return rangeMatcher(bareHost(range[1] ?? ''), Number(range[2]))
  const [, name = entry, port] = (isIP(entry) === 0 ? /^(.+):(\d+)$/.exec(entry) : null) ?? []
  const onPort = (actual: string) => port === undefined || port === actual
  const host = bareHost(name)
  const suffix = host.replace(/^\*?(?=\.)/, '')
  if (suffix.startsWith('.')) return (actual, at) => onPort(at) && actual.endsWith(suffix)
  if (isIP(host) !== 0) {
    const same = rangeMatcher(host, isIP(host) === 4 ? 32 : 128)
    return (actual, at) => onPort(at) && same(actual, at)
  }
  return (actual, at) => onPort(at) && (actual === host || actual.endsWith(`.${host}`))
}

function rangeMatcher(address: string, bits: number): Matches {
  const family = isIP(address)
  if (family === 0 || bits > (family === 4 ? 32 : 128)) return () => false
  const list = new BlockList()
  list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6')
  return (host) => isIP(host) !== 0 && list.check(host, isIP(host) === 4 ? 'ipv4' : 'ipv6')
}

/** Without the brackets of an IPv6 address. */
export function bareHost(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1')
}
