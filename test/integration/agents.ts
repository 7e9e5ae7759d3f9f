import { EventEmitter, once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent as HttpAgent, type IncomingHttpHeaders, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type RunningAgent, startAgent } from '@layerswarm/agent/agent.ts'
import { agentOptions } from '@layerswarm/agent/config.ts'
import { resolveConfig } from '@layerswarm/core/config/load.ts'
import { createLogger, type Logger } from '@layerswarm/core/log.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import type { TestAuthority } from '@layerswarm/testkit/test-authority.ts'
import { TestFleet } from '@layerswarm/testkit/test-fleet.ts'
import type { RunningTracker } from '@layerswarm/tracker/tracker.ts'

interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

interface AgentsOptions {
  /** The registry speaks TLS, with a certificate of this authority. */
  readonly authority?: TestAuthority
}

interface Parts extends Pick<Agents, 'registry' | 'tracker' | 'trackerLog'> {
  readonly agents: readonly RunningAgent[]
  readonly http: HttpAgent
}

/** Whole agents in this process, with a tracker, before a registry that counts. */
export class Agents implements AsyncDisposable {
  readonly registry: FakeRegistry
  readonly tracker: RunningTracker
  readonly trackerLog: WatchedLog
  readonly #agents: readonly RunningAgent[]
  readonly #stack: AsyncDisposableStack
  readonly #http: HttpAgent

  private constructor(parts: Parts, stack: AsyncDisposableStack) {
    this.registry = parts.registry
    this.tracker = parts.tracker
    this.trackerLog = parts.trackerLog
    this.#agents = parts.agents
    this.#http = parts.http
    this.#stack = stack
  }

  static async start(count: number, args: readonly string[] = [], { authority }: AgentsOptions = {}): Promise<Agents> {
    await using stack = new AsyncDisposableStack()
    const dir = await mkdtemp(join(tmpdir(), 'layerswarm-agents-'))
    stack.defer(() => rm(dir, { recursive: true, force: true }))
    const registry = stack.use(await FakeRegistry.start(authority === undefined ? {} : { tls: await authority.issue('127.0.0.1') }))
    if (authority !== undefined) await trust(authority, dir, registry.host)
    const trackerLog = new WatchedLog()
    const fleet = stack.use(await TestFleet.start({ log: trackerLog.log }))
    const listen = '127.0.0.1:0'
    const agents: RunningAgent[] = []
    for (let index = 0; index < count; index++) {
      const flags = {
        mirrorListen: listen,
        adminListen: listen,
        p2pListen: listen,
        dataDir: join(dir, String(index)),
        name: `host-${index}`,
        tracker: [fleet.address],
        ...(authority === undefined ? { insecureRegistry: [registry.host] } : { registry: [registry.host], certsDir: [dir] }),
        registryAuth: 'none',
        containerdAddress: 'none',
        ...Object.fromEntries(args.map((flag) => [flag, 'true']))
      }
      const watched = new WatchedLog()
      agents.push(stack.use(await startAgent(resolveConfig(agentOptions, { flags }).config, { log: watched.log })))
      await watched.line('connected to the tracker')
    }
    const http = new HttpAgent({ keepAlive: true })
    stack.defer(() => http.destroy())
    return new Agents({ registry, tracker: fleet.tracker, trackerLog, agents, http }, stack.move())
  }

  /** Asks one agent's mirror as containerd does. */
  async ask(agent: number, path: string, method = 'GET', body?: Uint8Array, headers: Record<string, string> = {}): Promise<Reply> {
    const url = new URL(`/v2/${path}`, this.#agents[agent]?.mirrorUrl)
    url.searchParams.set('ns', this.registry.host)
    const length = body === undefined ? {} : { 'content-length': body.byteLength }
    const sent = request(url, { method, headers: { ...length, ...headers }, agent: this.#http })
    sent.end(body)
    const [response] = await once(sent, 'response')
    return { status: response.statusCode, headers: response.headers, body: await buffer(response) }
  }

  /** Asks all agents at the same time. */
  async askAll(path: string): Promise<Reply[]> {
    return await Promise.all(this.#agents.map((_, agent) => this.ask(agent, path)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

async function trust(authority: TestAuthority, certsDir: string, host: string): Promise<void> {
  await mkdir(join(certsDir, host))
  await writeFile(join(certsDir, host, 'ca.crt'), authority.cert)
}

/** A log whose readers wait for lines. */
class WatchedLog {
  readonly log: Logger
  readonly #lines: string[] = []
  readonly #written = new EventEmitter()

  constructor() {
    const write = (line: unknown, _encoding: BufferEncoding, done: () => void): void => {
      this.#lines.push(String(line))
      this.#written.emit('line')
      done()
    }
    this.log = createLogger({ level: 'info', destination: new Writable({ write }) })
  }

  /** The first line, from the start of the log, that has `text` in it. */
  async line(text: string): Promise<string> {
    for (;;) {
      const found = this.#lines.find((line) => line.includes(text))
      if (found !== undefined) return found
      await once(this.#written, 'line')
    }
  }
}
