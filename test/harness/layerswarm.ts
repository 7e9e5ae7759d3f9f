import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Host } from './network.ts'
import type { RunningProcess } from './process.ts'
import type { PublishedImage } from './published-image.ts'

const LAUNCHER = fileURLToPath(new URL('../../packages/cli/bin/layerswarm.js', import.meta.url))
/** No configuration file of the machine may have a say in a test. */
const NO_CONFIG = ['--config', '/dev/null']

/** What clients say they can read when they ask for manifests. */
const ACCEPT = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  '*/*'
].join(', ')

/** Where the first agent of a host listens for its clients. */
export const MIRROR = 'http://127.0.0.1:5050'
const DEFAULT_PORT = 5050
const TRACKER_HTTP = 'http://127.0.0.1:5061'

/** Runs `layerswarm` on a host as a user would; resolves whatever its exit code. */
export function layerswarm(host: Host, args: readonly string[], env: Record<string, string> = {}) {
  return host.tryRun(process.execPath, [LAUNCHER, ...args], { env })
}

/** Makes a fleet's key below `dir` with `layerswarm cluster-key new`; returns the file. */
export async function newClusterKey(host: Host, dir: string): Promise<string> {
  const file = join(dir, 'cluster.key')
  const result = await layerswarm(host, ['cluster-key', 'new', '--out', file])
  if (result.code !== 0) throw new Error(`cluster-key new: ${result.stdout}${result.stderr}`)
  return file
}

/** A tracker on a host, at the default ports, its API on the host's loopback. */
export class Tracker {
  readonly host: Host
  readonly clusterKey: string
  /** What agents are given as `--tracker`. */
  readonly address: string
  process!: RunningProcess

  private constructor(host: Host, clusterKey: string) {
    this.host = host
    this.clusterKey = clusterKey
    this.address = `/ip4/${host.address}/tcp/5060`
  }

  static async start(host: Host, clusterKey: string): Promise<Tracker> {
    const tracker = new Tracker(host, clusterKey)
    await tracker.restart()
    return tracker
  }

  /** Starts the tracker again, after it was stopped or killed. */
  async restart(): Promise<void> {
    const dir = join(this.host.dir, 'tracker-data')
    mkdirSync(dir, { recursive: true })
    const args = ['tracker', ...NO_CONFIG, '--data-dir', dir, '--cluster-key', this.clusterKey, '--log-format', 'json']
    this.process = this.host.start('tracker', process.execPath, [LAUNCHER, ...args])
    await this.process.ready(async () => (await this.host.client.http(`${TRACKER_HTTP}/readyz`)).status === 200)
  }

  async metrics(): Promise<Metrics> {
    return new Metrics((await this.host.client.http(`${TRACKER_HTTP}/metrics`)).text)
  }
}

export interface AgentOptions {
  /** A file without which no connection to peers is made. */
  readonly clusterKey?: string
  readonly tracker?: string
  /** The registry that the agent may reach over plain HTTP. */
  readonly insecureRegistry?: string
  /** The socket of a containerd that it shares with; none otherwise, for a containerd of the machine may have no say in a test. */
  readonly containerd?: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly dataDir?: string
  /** The port of its mirror, the two that follow being admin and p2p; for a second agent on a host. Default 5050. */
  readonly port?: number
}

/** An agent on a host. */
export class Agent {
  readonly host: Host
  readonly dataDir: string
  readonly mirror: string
  readonly admin: string
  readonly #port: number
  process!: RunningProcess
  readonly #options: AgentOptions

  constructor(host: Host, options: AgentOptions) {
    this.host = host
    this.dataDir = options.dataDir ?? join(host.dir, 'data')
    this.#port = options.port ?? DEFAULT_PORT
    this.mirror = `http://127.0.0.1:${this.#port}`
    this.admin = `http://127.0.0.1:${this.#port + 1}`
    this.#options = options
  }

  /** Starts the agent and waits until it is ready and, if it has one, connected to its tracker. */
  static async start(host: Host, options: AgentOptions): Promise<Agent> {
    const agent = new Agent(host, options)
    await agent.restart()
    return agent
  }

  /** Starts the agent again on the same data. `waitForTracker` is for starts while the tracker is gone. */
  async restart({ waitForTracker = this.#options.tracker !== undefined } = {}): Promise<void> {
    this.launch()
    await this.process.ready(async () => {
      const ready = await this.host.client.http(`${this.admin}/readyz`)
      return ready.status === 200 && (!waitForTracker || isTrackerConnected(ready.text))
    })
  }

  /** Starts the program without waiting for anything. */
  launch(): RunningProcess {
    const { clusterKey, tracker, insecureRegistry, containerd = 'none', args = [], env = {} } = this.#options
    const given = [
      'agent',
      ...NO_CONFIG,
      '--data-dir',
      this.dataDir,
      '--name',
      this.host.name,
      '--log-format',
      'json',
      '--containerd-address',
      containerd
    ]
    if (clusterKey !== undefined) given.push('--cluster-key', clusterKey)
    if (tracker !== undefined) given.push('--tracker', tracker)
    if (this.#port !== DEFAULT_PORT) {
      given.push('--mirror-listen', `127.0.0.1:${this.#port}`, '--admin-listen', `127.0.0.1:${this.#port + 1}`)
      given.push('--p2p-listen', `0.0.0.0:${this.#port + 2}`)
    }
    if (insecureRegistry !== undefined) given.push('--insecure-registry', insecureRegistry)
    this.process = this.host.start(`agent-${this.#port}`, process.execPath, [LAUNCHER, ...given, ...args], { env })
    return this.process
  }

  /** Stops the agent and forgets everything it stored. */
  async wipe(): Promise<void> {
    await this.process.stop()
    rmSync(this.dataDir, { recursive: true, force: true })
  }

  async metrics(): Promise<Metrics> {
    return new Metrics((await this.host.client.http(`${this.admin}/metrics`)).text)
  }

  async isConnectedToTracker(): Promise<boolean> {
    return isTrackerConnected((await this.host.client.http(`${this.admin}/readyz`)).text)
  }

  /** Where the agent's bytes came from so far. */
  async received(): Promise<{ registry: number; peer: number }> {
    const metrics = await this.metrics()
    const bytes = (source: string) => metrics.sum('layerswarm_bytes_total', { direction: 'in', source })
    return { registry: bytes('registry'), peer: bytes('peer') }
  }

  get blobs(): string {
    return join(this.dataDir, 'blobs/sha256')
  }

  /** Asks the mirror as containerd does: for content of `registry`'s `repository`. */
  request(registry: string, path: string, options: Parameters<Host['client']['http']>[1] = {}) {
    return this.host.client.http(`${this.mirror}/v2/${path}?ns=${encodeURIComponent(registry)}`, options)
  }

  /** Asks for an image's manifests as a client does before it asks for blobs; checks their digests. */
  async resolve(registry: string, repository: string, reference: string, image: PublishedImage): Promise<void> {
    await this.expect(registry, `${repository}/manifests/${reference}`, image.root.digest)
    if (image.manifest.digest !== image.root.digest) {
      await this.expect(registry, `${repository}/manifests/${image.manifest.digest}`, image.manifest.digest)
    }
  }

  /** Pulls a whole image through the mirror: manifests, then config and layers at once. Checks every digest. */
  async pull(registry: string, repository: string, reference: string, image: PublishedImage): Promise<void> {
    await this.resolve(registry, repository, reference, image)
    const blobs = [image.config, ...image.layers]
    await Promise.all(blobs.map(({ digest }) => this.expect(registry, `${repository}/blobs/${digest}`, digest)))
  }

  /** GETs content through the mirror, which must answer with exactly the bytes of `digest`. */
  async expect(registry: string, path: string, digest: string): Promise<void> {
    const result = await this.request(registry, path, { keep: 'digest', headers: { accept: ACCEPT } })
    if (result.status !== 200 || result.digest !== digest) {
      throw new Error(`${this.host.name}: GET ${path}: ${result.status}, ${result.bytes} bytes of ${result.digest}, not ${digest}`)
    }
  }
}

function isTrackerConnected(readyz: string): boolean {
  return JSON.parse(readyz).tracker?.connected === true
}

/** The samples of a Prometheus page. */
export class Metrics {
  readonly #samples: { name: string; labels: Map<string, string>; value: number }[] = []
  readonly text: string

  constructor(text: string) {
    this.text = text
    for (const line of text.split('\n')) {
      const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line)
      if (match === null) continue
      const labels = new Map([...(match[2] ?? '').matchAll(/([a-z_]+)="([^"]*)"/g)].map((pair) => [pair[1] ?? '', pair[2] ?? '']))
      this.#samples.push({ name: match[1] ?? '', labels, value: Number(match[3]) })
    }
  }

  /** The sum of all samples with this name and at least these labels; 0 if there is none. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.#samples
      .filter((sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels.get(key) === value))
      .reduce((total, sample) => total + sample.value, 0)
  }
}
