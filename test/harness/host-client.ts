import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { HostReply, HttpRequest, HttpResult, PublishRequest, TcpResult } from './host-protocol.ts'
import type { PublishedImage } from './published-image.ts'

/** Buffers outside the heap are collected when they count, not every 25 MiB of them. */
const FLAGS = ['--external-memory-accounted-in-global-limit']
const WORKER = fileURLToPath(new URL('./host-worker.ts', import.meta.url))
const DEFAULT_TIMEOUT_MS = 120_000
/** Images of the benchmarks have several GiB. */
const PUBLISH_MS = 600_000

export interface HttpOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly keep?: HttpRequest['keep']
  readonly pauseAt?: number
  readonly timeoutMs?: number
  /** Told how many bytes of the body have arrived, every 256 KiB. */
  readonly onProgress?: (bytes: number) => void
}

/** A request that is under way on a host. */
export interface Transfer extends Promise<HttpResult> {
  /** Resolves once this many bytes of the body have arrived on the host. */
  reached(bytes: number): Promise<void>
  /** Goes on after `pauseAt`. */
  resume(): void
  /** Closes the connection, as a client does that was interrupted. */
  abort(): void
}

type Result = HttpResult & TcpResult & PublishedImage

interface Waiting {
  readonly resolve: (result: Result) => void
  readonly reject: (error: Error) => void
  readonly progress: (bytes: number) => void
}

/** An HTTP and TCP client whose sockets belong to a host's network namespace: a child process does the work. */
export class HostClient {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0

  /** `enter` is the command line that starts Node inside the namespace. */
  constructor(enter: readonly string[]) {
    const [program = '', ...args] = enter
    this.#child = spawn(program, [...args, ...FLAGS, WORKER], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', (reply: HostReply) => this.#receive(reply))
    this.#child.on('exit', () => this.#failAll(new Error('The client process of the host has ended.')))
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Sends one request. `url` is `http://host:port/path`; the path goes out exactly as written. */
  http(url: string, options: HttpOptions = {}): Transfer {
    const { host, port, path } = splitUrl(url)
    const order: HttpRequest = {
      kind: 'http',
      host,
      port,
      path,
      method: options.method ?? 'GET',
      headers: options.headers ?? {},
      keep: options.keep ?? 'text',
      ...(options.pauseAt === undefined ? {} : { pauseAt: options.pauseAt })
    }
    return this.#transfer(order, options)
  }

  /** Sends a GET and parses the answer, which must be 200 with JSON. */
  async json<T>(url: string): Promise<T> {
    const result = await this.http(url)
    if (result.status !== 200) throw new Error(`${url}: ${result.status} ${result.text}`)
    return JSON.parse(result.text) as T
  }

  /** Sends raw bytes over TCP and returns what came back until one side closed. */
  tcp(host: string, port: number, bytes: Uint8Array, closeAfterMs = 3_000): Promise<TcpResult> {
    const send = Buffer.from(bytes).toString('base64')
    return this.#send({ kind: 'tcp', host, port, send, closeAfterMs }, { timeoutMs: closeAfterMs + 10_000 }).promise
  }

  /** Builds an image on the host and uploads it to a registry that the host can reach. */
  publish(order: Omit<PublishRequest, 'kind'>): Promise<PublishedImage> {
    return this.#send({ kind: 'publish', ...order }, { timeoutMs: PUBLISH_MS }).promise
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }

  #transfer(order: HttpRequest, options: HttpOptions): Transfer {
    const marks: { bytes: number; reach: () => void; fail: (error: Error) => void }[] = []
    let arrived = 0
    const onProgress = (bytes: number): void => {
      arrived = bytes
      options.onProgress?.(bytes)
      for (const mark of marks) if (bytes >= mark.bytes) mark.reach()
    }
    const { id, promise } = this.#send(order, { ...options, onProgress })
    promise.catch((error: Error) => {
      for (const mark of marks) mark.fail(error)
    })
    const reached = (bytes: number): Promise<void> => {
      if (arrived >= bytes) return Promise.resolve()
      const { promise: reach, resolve, reject } = Promise.withResolvers<void>()
      marks.push({ bytes, reach: resolve, fail: reject })
      return reach
    }
    const tell = (kind: 'resume' | 'abort') => () => void this.#child.send({ kind, id })
    return Object.assign(promise, { reached, resume: tell('resume'), abort: tell('abort') })
  }

  #send(order: object, options: Pick<HttpOptions, 'timeoutMs' | 'onProgress'>): { id: number; promise: Promise<Result> } {
    this.#lastId += 1
    const id = this.#lastId
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    const timer = setTimeout(() => {
      this.#child.send({ kind: 'abort', id })
      reject(new Error(`No answer within ${timeoutMs} ms: ${JSON.stringify(order)}`))
    }, timeoutMs)
    const settled = (): void => clearTimeout(timer)
    promise.then(settled, settled)
    this.#waiting.set(id, { resolve, reject, progress: options.onProgress ?? (() => {}) })
    this.#child.send({ ...order, id })
    return { id, promise }
  }

  #receive(reply: HostReply): void {
    const waiting = this.#waiting.get(reply.id)
    if (reply.type === 'progress') {
      waiting?.progress(reply.bytes)
      return
    }
    this.#waiting.delete(reply.id)
    if (reply.type === 'error') waiting?.reject(new Error(`${reply.message} (after ${reply.bytes} bytes)`))
    else waiting?.resolve(reply.result as Result)
  }

  #failAll(error: Error): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
  }
}

function splitUrl(url: string): { host: string; port: number; path: string } {
  const match = /^http:\/\/([^:/]+):(\d+)(\/.*)?$/s.exec(url)
  if (match === null) throw new Error(`Not an http URL with a port: ${url}`)
  return { host: match[1] ?? '', port: Number(match[2]), path: match[3] ?? '/' }
}
