import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

/** PEM of a server that speaks TLS, and asks for a client certificate without insisting on one. */
export interface ListenerTls {
  readonly cert: string
  readonly key: string
}

/** An HTTP server that can be stopped and started again at the same address. */
export class Listener {
  readonly #handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>
  readonly #hostname: string
  readonly #tls: ListenerTls | undefined
  #port: number
  #server: Server | undefined

  constructor(
    handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
    hostname: string,
    port: number,
    tls?: ListenerTls
  ) {
    this.#handle = handle
    this.#hostname = hostname
    this.#port = port
    this.#tls = tls
  }

  /** `host:port`, once it has listened. */
  get host(): string {
    return `${this.#hostname}:${this.#port}`
  }

  get url(): string {
    return `${this.#tls === undefined ? 'http' : 'https'}://${this.host}`
  }

  async start(): Promise<void> {
    // A failed answer (the client went away, mostly) must end the connection, or the client waits for ever.
    const handle = (request: IncomingMessage, response: ServerResponse) => {
      this.#handle(request, response).catch(() => response.destroy())
    }
    const server =
      this.#tls === undefined
        ? createServer(handle)
        : createTlsServer({ ...this.#tls, requestCert: true, rejectUnauthorized: false }, handle)
    server.listen(this.#port, this.#hostname)
    await once(server, 'listening')
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
}
