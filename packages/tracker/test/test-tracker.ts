import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '@layerswarm/core/log.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import { type Identity, newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode, type P2pNode } from '@layerswarm/core/p2p/node.ts'
import {
  type AgentMessage,
  DIRECTORY_PROTOCOL,
  MAX_DIRECTORY_MESSAGE,
  type TrackerMessage,
  trackerMessage
} from '@layerswarm/core/wire/directory-protocol.ts'
import { decodeMessage } from '@layerswarm/core/wire/frames.ts'
import { type RunningTracker, startTracker } from '../src/tracker.ts'

const silent = createLogger({ level: 'silent' })
const LOOPBACK = { host: '127.0.0.1', port: 0 }

/** A real tracker, and agents that speak the bare protocol to it. */
export class TestTracker implements AsyncDisposable {
  readonly dataDir: string
  readonly #parts = new AsyncDisposableStack()
  #running: RunningTracker | undefined

  private constructor(dataDir: string) {
    this.dataDir = dataDir
    this.#parts.defer(() => rm(dataDir, { recursive: true, force: true }))
    this.#parts.defer(() => this.stop())
  }

  static async start(): Promise<TestTracker> {
    const tracker = new TestTracker(await mkdtemp(join(tmpdir(), 'layerswarm-tracker-')))
    await tracker.start()
    return tracker
  }

  get running(): RunningTracker {
    if (this.#running === undefined) throw new Error('the tracker is stopped')
    return this.#running
  }

  async start(): Promise<void> {
    const config = { p2pListen: LOOPBACK, httpListen: LOOPBACK, dataDir: this.dataDir, clusterKey: undefined }
    this.#running = await startTracker(config, { log: silent })
  }

  async stop(): Promise<void> {
    await this.#running?.[Symbol.asyncDispose]()
    this.#running = undefined
  }

  async node(identity?: Identity): Promise<P2pNode> {
    const known = identity ?? (await newIdentity())
    return this.#parts.use(await createNode({ identity: known, version: 'test' }, { log: silent }))
  }

  /** Opens a stream, of a node of its own unless one is given. */
  async agent(options: { readonly node?: P2pNode; readonly protocol?: string } = {}): Promise<BareAgent> {
    const node = options.node ?? (await this.node())
    await node.connect([...this.running.p2p], { peer: this.running.id })
    const stream = await node.open(this.running.id, options.protocol ?? DIRECTORY_PROTOCOL, { maxMessage: MAX_DIRECTORY_MESSAGE })
    return new BareAgent(node.id, stream)
  }

  async get(path: string): Promise<Response> {
    return await fetch(`${this.running.httpUrl}${path}`)
  }

  /** What it wants to see before it changes something. */
  async token(): Promise<string> {
    return (await readFile(join(this.dataDir, 'token'), 'utf8')).trim()
  }

  /** A request that changes something, with the token unless other headers are given. */
  async change(method: 'POST' | 'DELETE', path: string, body?: unknown, headers?: Record<string, string>): Promise<Response> {
    return await fetch(`${this.running.httpUrl}${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(headers ?? { authorization: `Bearer ${await this.token()}` })
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync()
  }
}

/** One stream to the tracker, with nothing done for it. */
export class BareAgent {
  readonly id: string
  readonly stream: FramedStream
  /** Settles when the stream has ended. */
  readonly closed: Promise<void>
  readonly #received: TrackerMessage[] = []
  #wake: () => void = () => undefined

  constructor(id: string, stream: FramedStream) {
    this.id = id
    this.stream = stream
    const closed = Promise.withResolvers<void>()
    this.closed = closed.promise
    stream.start({
      onMessage: (body) => {
        this.#received.push(decodeMessage(trackerMessage, body))
        this.#wake()
      },
      onClose: () => closed.resolve()
    })
  }

  say(message: AgentMessage): void {
    this.stream.send(message)
  }

  hello(name = 'agent', more: { readonly seeds?: boolean; readonly zone?: string } = {}): void {
    this.say({ t: 'hello', name, version: 'test', port: 5052, addrs: ['/ip4/192.0.2.9/tcp/5052'], ...more })
  }

  /** The next message of a type. */
  async next<T extends TrackerMessage['t']>(t: T): Promise<Extract<TrackerMessage, { t: T }>> {
    while (true) {
      const at = this.#received.findIndex((message) => message.t === t)
      if (at >= 0) return this.#received.splice(at, 1)[0] as Extract<TrackerMessage, { t: T }>
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}
