import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import type { Duplex } from 'node:stream'
import type { IssuedCertificate } from './test-authority.ts'

export interface ForwardProxyOptions {
  readonly tls?: IssuedCertificate
  /** The Proxy-Authorization that it asks for. */
  readonly authorization?: string
}

type ProxyMode = 'serve' | 'ignore' | 'hang up'

/** A small forward proxy for which every name leads to this machine: CONNECT, and plain HTTP in absolute form. */
export class ForwardProxy implements AsyncDisposable {
  /** First lines of requests. */
  readonly asked: string[] = []
  readonly #server: Server
  readonly #open = new Set<Duplex>()
  readonly #authorization: string | undefined
  #mode: ProxyMode = 'serve'

  private constructor(tls: IssuedCertificate | undefined, authorization: string | undefined) {
    this.#authorization = authorization
    this.#server = tls === undefined ? createServer() : createTlsServer(tls)
    this.#server.on('connect', (request: IncomingMessage, socket: Duplex) => this.#tunnel(request, socket))
    this.#server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#forward(request, response))
    this.#server.on('connection', (socket: Duplex) => this.#keep(socket))
  }

  static async start(options: ForwardProxyOptions = {}): Promise<ForwardProxy> {
    const proxy = new ForwardProxy(options.tls, options.authorization)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  behave(mode: ProxyMode): void {
    this.#mode = mode
  }

  /** Waits until something was asked. */
  async isAsked(): Promise<void> {
    if (this.asked.length === 0) await once(this.#server, 'connect')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#open) socket.destroy()
    await closed
  }

  #keep(socket: Duplex): void {
    this.#open.add(socket)
    socket.on('error', () => undefined).once('close', () => this.#open.delete(socket))
  }

  #refuses({ headers }: IncomingMessage): boolean {
    return this.#authorization !== undefined && headers['proxy-authorization'] !== this.#authorization
  }

  #tunnel(asked: IncomingMessage, socket: Duplex): void {
    this.#keep(socket)
    this.asked.push(`CONNECT ${asked.url}`)
    if (this.#mode === 'ignore') return
    if (this.#mode === 'hang up') return void socket.destroy()
    if (this.#refuses(asked)) return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
    const target = connect(Number(asked.url?.split(':').at(-1)), '127.0.0.1')
    this.#keep(target)
    target.once('connect', () => socket.write('HTTP/1.1 200 Connection established\r\n\r\n'))
    target.pipe(socket).pipe(target)
  }

  #forward(asked: IncomingMessage, response: ServerResponse): void {
    this.asked.push(`${asked.method} ${asked.url}`)
    if (this.#refuses(asked)) return void response.writeHead(407).end()
    const { port, pathname, search } = new URL(asked.url ?? '')
    const { 'proxy-authorization': _, ...headers } = asked.headers
    const onward = request({ host: '127.0.0.1', port, method: asked.method, path: pathname + search, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    asked.pipe(onward)
  }
}
