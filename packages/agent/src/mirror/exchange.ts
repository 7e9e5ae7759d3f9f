import { once } from 'node:events'
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'

/**
 * One request and its answer, on the raw response: every header is set here and none is added, lengths are exact, and
 * what cannot be completed is cut.
 */
export class Exchange {
  readonly request: IncomingMessage
  readonly method: string
  /** As it came over the wire. */
  readonly url: string
  readonly #response: ServerResponse
  readonly #gone = new AbortController()
  readonly #base: Record<string, string> = { 'Docker-Distribution-Api-Version': 'registry/2.0' }
  /** Body bytes handed to the connection. */
  sent = 0
  /** Headers that an answer which refuses the request carries, besides what it says. */
  readonly onRefusal: Record<string, string> = {}

  constructor(request: IncomingMessage, response: ServerResponse, url: string) {
    this.request = request
    this.method = request.method ?? ''
    this.url = url
    this.#response = response
    response.strictContentLength = true
    response.once('close', () => {
      if (!response.writableFinished) this.#left()
    })
    // A broken connection is reported by 'close'; without a listener it would end the process.
    response.on('error', () => undefined)
  }

  /** Fires when the client closes the connection before it has the whole answer. */
  get signal(): AbortSignal {
    return this.#gone.signal
  }

  get head(): boolean {
    return this.method === 'HEAD'
  }

  /** The status sent; 0 before the headers have left. */
  get status(): number {
    return this.begun ? this.#response.statusCode : 0
  }

  get begun(): boolean {
    return this.#response.headersSent
  }

  get hasBody(): boolean {
    const { headers } = this.request
    return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  }

  /** Bytes that the body is to have; undefined where only its end tells. */
  get bodyLength(): number | undefined {
    return this.request.headers['transfer-encoding'] === undefined ? Number(this.request.headers['content-length'] ?? 0) : undefined
  }

  /** The request's body, for whoever takes it: not ended by leaving it, which would end the connection. */
  body(): AsyncIterator<Uint8Array> {
    if (this.request.headers.expect !== undefined) this.#response.writeContinue()
    return this.request[Symbol.asyncIterator]()
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  /** A header that every answer from now on carries. */
  always(name: string, value: string): void {
    this.#base[name] = value
  }

  /** A whole answer. The body of a HEAD is left out, its length is not. */
  async send(status: number, headers: OutgoingHttpHeaders, body: Uint8Array | string = ''): Promise<void> {
    this.start(status, headers)
    if (this.head) this.#response.end()
    else this.#response.end(body)
    await this.#finished()
  }

  /** The headers; the body follows by {@link write} and {@link end}. */
  start(status: number, headers: OutgoingHttpHeaders): void {
    // The rest of a body that was not taken is not read: it may be a whole layer.
    const last = this.hasBody && !this.request.complete ? { Connection: 'close' } : {}
    this.#response.writeHead(status, { ...this.#base, ...last, ...headers })
  }

  /** Resolves once the connection has taken all of `chunk`: its memory is then the caller's again. */
  async write(chunk: Uint8Array): Promise<void> {
    this.signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const gone = () => reject(this.signal.reason)
    this.signal.addEventListener('abort', gone)
    this.sent += chunk.byteLength
    // A reset may fail a write before the connection is seen to close.
    this.#response.write(chunk, (error) => (error ? this.#left() : resolve()))
    try {
      await promise
    } finally {
      this.signal.removeEventListener('abort', gone)
    }
  }

  /** @throws when fewer bytes were written than announced */
  async end(): Promise<void> {
    this.#response.end()
    await this.#finished()
  }

  /** Ends the connection where it stands, so that no client takes what it got for the whole. */
  cut(): void {
    this.#response.destroy()
  }

  #left(): void {
    this.#gone.abort(new DOMException('the client went away', 'AbortError'))
  }

  async #finished(): Promise<void> {
    if (!this.#response.writableFinished) await once(this.#response, 'finish', { signal: this.signal })
  }
}
