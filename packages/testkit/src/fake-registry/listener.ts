import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** An HTTP server that can be stopped and started again at the same address. */
export class Listener {
  readonly #handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>
  readonly #hostname: string
  #port: number
  #server: Server | undefined

  constructor(handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>, hostname: string, port: number) {
    this.#handle = handle
    this.#hostname = hostname
    this.#port = port
  }

  /** `host:port`, once it has listened. */
  get host(): string {
    return `${this.#hostname}:${this.#port}`
  }

  async start(): Promise<void> {
    // A failed answer (the client went away, mostly) must end the connection, or the client waits for ever.
    const server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy())
    })
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
