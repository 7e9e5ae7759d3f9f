import { execFile, execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Metrics } from '../../test/harness/layerswarm.ts'
import { RunningProcess } from '../../test/harness/process.ts'

const LAUNCHER = fileURLToPath(new URL('../../packages/cli/bin/layerswarm.js', import.meta.url))
const SMALL_REGISTRY = fileURLToPath(new URL('./registry.ts', import.meta.url))
/** No configuration file of the machine may have a say here. */
const COMMON = ['--config', '/dev/null', '--log-format', 'json']
/** Nor may what its containerd holds: every agent would hash all of it. */
const ALONE = ['--containerd-address', 'none']

export interface DemoRegistry {
  readonly process: RunningProcess
  /** What was found: `docker-registry`, or the testkit's. */
  readonly program: string
  /** As image references name it. */
  readonly host: string
}

export interface DemoAgent {
  readonly process: RunningProcess
  readonly name: string
  readonly mirrorUrl: string
  /** Payload bytes that came in so far, as the agent's own metrics tell. */
  received(): Promise<{ readonly peer: number; readonly registry: number }>
}

/** Real processes on ports of this machine that were free a moment ago; everything they write lies below `dir`. */
export class Fleet implements AsyncDisposable {
  readonly #dir: string
  readonly #signal: AbortSignal
  readonly #processes: RunningProcess[] = []
  #clusterKey = ''
  #tracker = ''

  constructor(dir: string, signal: AbortSignal) {
    this.#dir = dir
    this.#signal = signal
  }

  async startRegistry(): Promise<DemoRegistry> {
    const dir = join(this.#dir, 'registry')
    await mkdir(dir)
    const [port = 0] = await freePorts(1)
    const host = `127.0.0.1:${port}`
    const installed = hasDockerRegistry()
    const process = installed
      ? this.#start('docker-registry', ['serve', await registryConfig(dir, host)])
      : this.#node(SMALL_REGISTRY, [String(port), dir])
    await this.#ready(process, `http://${host}/v2/`)
    return { process, host, program: installed ? 'docker-registry' : "the testkit's small registry" }
  }

  /** The tracker, and the key that all hosts share. */
  async startTracker(): Promise<void> {
    this.#clusterKey = join(this.#dir, 'cluster.key')
    await promisify(execFile)(process.execPath, [LAUNCHER, 'cluster-key', 'new', '--out', this.#clusterKey])
    const [p2p, http] = await freePorts(2)
    const listen = ['--p2p-listen', `127.0.0.1:${p2p}`, '--http-listen', `127.0.0.1:${http}`]
    const data = ['--data-dir', join(this.#dir, 'tracker'), '--cluster-key', this.#clusterKey]
    await this.#ready(this.#node(LAUNCHER, ['tracker', ...COMMON, ...listen, ...data]), `http://127.0.0.1:${http}/readyz`)
    this.#tracker = `/ip4/127.0.0.1/tcp/${p2p}`
  }

  async startAgent(name: string, registry: DemoRegistry): Promise<DemoAgent> {
    const [mirror, admin, p2p] = await freePorts(3)
    const process = this.#node(LAUNCHER, [
      'agent',
      ...COMMON,
      ...ALONE,
      ...['--name', name, '--data-dir', join(this.#dir, name)],
      ...['--mirror-listen', `127.0.0.1:${mirror}`, '--admin-listen', `127.0.0.1:${admin}`, '--p2p-listen', `127.0.0.1:${p2p}`],
      ...['--cluster-key', this.#clusterKey, '--tracker', this.#tracker, '--insecure-registry', registry.host]
    ])
    const adminUrl = `http://127.0.0.1:${admin}`
    await this.#ready(process, `${adminUrl}/readyz`, (body) => /"connected":\s*true/.test(body))
    return {
      process,
      name,
      mirrorUrl: `http://127.0.0.1:${mirror}`,
      received: async () => {
        const metrics = new Metrics(await (await fetch(`${adminUrl}/metrics`)).text())
        const bytes = (source: string) => metrics.sum('layerswarm_bytes_total', { direction: 'in', source })
        return { peer: bytes('peer'), registry: bytes('registry') }
      }
    }
  }

  #node(script: string, args: readonly string[]): RunningProcess {
    return this.#start(process.execPath, [script, ...args])
  }

  #start(command: string, args: readonly string[]): RunningProcess {
    this.#signal.throwIfAborted()
    const child = new RunningProcess(command, args, { log: join(this.#dir, `process-${this.#processes.length}.log`) })
    this.#processes.push(child)
    return child
  }

  async #ready(child: RunningProcess, url: string, holds: (body: string) => boolean = () => true): Promise<void> {
    await child.ready(async () => {
      if (this.#signal.aborted) return true
      const response = await fetch(url)
      return response.ok && holds(await response.text())
    })
    this.#signal.throwIfAborted()
  }

  /** What the processes complained of, the last lines of each: for a demo that failed. */
  complaints(): string {
    const lines = this.#processes.flatMap((child) =>
      child
        .log()
        .split('\n')
        .filter((line) => /"level":"(?:warn|error|fatal)"|"reason":|Error/.test(line))
        .slice(-3)
    )
    return lines.join('\n')
  }

  /** Ends every process, the agents first, as a service manager would. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const group of [this.#processes.slice(2), this.#processes.slice(0, 2)]) await Promise.all(group.map((child) => child.stop()))
  }
}

function hasDockerRegistry(): boolean {
  try {
    execFileSync('docker-registry', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

async function registryConfig(dir: string, addr: string): Promise<string> {
  const file = join(dir, 'config.json')
  const storage = { filesystem: { rootdirectory: join(dir, 'data') }, cache: { blobdescriptor: 'inmemory' } }
  // The file is YAML to its reader, of which JSON is a part.
  await writeFile(file, JSON.stringify({ version: '0.1', log: { level: 'warn', accesslog: { disabled: true } }, storage, http: { addr } }))
  return file
}

/** Ports that nobody listens on now; all are held until the last is found, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
      return server
    })
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
