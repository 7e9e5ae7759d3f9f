import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect, isIP, type Socket } from 'node:net'
import { type SecureContext, connect as tlsConnect } from 'node:tls'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { errors } from 'undici'
import { bareHost, type ProxyServer } from './proxies.ts'

export interface TunnelOptions {
  /** For the proxy and what it has to do, ms. */
  readonly timeoutMs: number
  /** Trust in a proxy that speaks TLS itself. */
  readonly secureContext: () => SecureContext
  readonly signal: AbortSignal
}

/**
 * A connection to `authority` (`host:port`) through a proxy (CONNECT, RFC 9110 §9.3.6).
 * @throws {LayerswarmError} REGISTRY_UNREACHABLE when the proxy refuses; else what the network throws, or the signal's reason
 */
export async function openTunnel({ url, headers }: ProxyServer, authority: string, options: TunnelOptions): Promise<Socket> {
  const { timeoutMs, secureContext, signal } = options
  const limit = AbortSignal.timeout(timeoutMs)
  const host = bareHost(url.hostname)
  const secure = url.protocol === 'https:'
  const port = Number(url.port || (secure ? 443 : 80))
  const request = httpRequest({
    method: 'CONNECT',
    path: authority,
    headers: { host: authority, ...headers },
    signal: AbortSignal.any([signal, limit]),
    createConnection: () =>
      secure
        ? tlsConnect({ host, port, secureContext: secureContext(), ...(isIP(host) === 0 && { servername: host }) })
        : connect({ host, port })
  })
  // What goes wrong is seen below; a second failure of the same request is no news.
  request.on('error', () => undefined)
  try {
    const connected = once(request, 'connect') as Promise<[IncomingMessage, Socket, Buffer]>
    request.end()
    const [{ statusCode = 0 }, socket, head] = await connected
    // The far end of a tunnel that nobody took over yet may break at any moment.
    socket.on('error', () => undefined)
    if (statusCode < 200 || statusCode > 299) {
      socket.destroy()
      throw new LayerswarmError('REGISTRY_UNREACHABLE', { detail: `the proxy ${url.host} answered ${statusCode} for ${authority}` })
    }
    if (head.byteLength > 0) socket.unshift(head)
    return socket
  } catch (error) {
    request.destroy()
    signal.throwIfAborted()
    if (limit.aborted) throw new errors.ConnectTimeoutError(`the proxy ${url.host} did not connect within ${timeoutMs} ms`)
    throw error
  }
}
