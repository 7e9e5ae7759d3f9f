import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fleet } from '../../harness/fleet.ts'
import type { Agent } from '../../harness/layerswarm.ts'
import type { Host } from '../../harness/network.ts'
import type { PublishedImage } from '../../harness/published-image.ts'
import { REGISTRY_PORT, Registry } from '../../harness/registry.ts'

const REPOSITORY = 'bench/app'
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

export interface CrowdOptions {
  /** The largest crowd that is measured. */
  readonly hosts: number
  /** The rate of every link in both directions, as `tc` writes it. */
  readonly rate: string
  /** Sizes of the layers, bytes. */
  readonly layers: readonly number[]
}

/** What one cold crowd took. */
export interface Outcome {
  /** Of each host from when it began, in the order of the hosts; those that were killed are left out. */
  readonly seconds: readonly number[]
  /** Bytes that left the registry's link. */
  readonly registryBytes: number
}

export function last({ seconds }: Outcome): number {
  return Math.max(...seconds)
}

export function first({ seconds }: Outcome): number {
  return Math.min(...seconds)
}

export interface AgentRun {
  /** The hosts begin one after another over this long, ms. */
  readonly arrivalsMs?: number
  /** So many hosts are killed, one every this many ms. */
  readonly deaths?: { readonly count: number; readonly everyMs: number }
}

/** Hosts that pull one image of a registry at the same instant, nothing cached anywhere, in the ways that there are. */
export class Crowd implements AsyncDisposable {
  readonly #fleet: Fleet
  readonly #image: PublishedImage
  readonly #hosts: readonly Host[]
  readonly #cacheHost: Host

  private constructor(fleet: Fleet, image: PublishedImage) {
    this.#fleet = fleet
    this.#image = image
    this.#hosts = fleet.hosts.slice(0, -1)
    this.#cacheHost = fleet.host(fleet.hosts.length)
  }

  static async create({ hosts, rate, layers }: CrowdOptions): Promise<Crowd> {
    await using stack = new AsyncDisposableStack()
    const fleet = stack.use(await Fleet.create({ hosts: hosts + 1, rate }))
    const specs = layers.map((size, index) => ({ seed: `${REPOSITORY} ${index}`, size }))
    const image = await fleet.registry.publish(REPOSITORY, { layers: specs })
    // The programs that play the clients start with their first request.
    await Promise.all(fleet.hosts.map((host) => host.client.http(`http://${fleet.registry.name}/v2/`)))
    stack.move()
    return new Crowd(fleet, image)
  }

  /** Every host pulls straight from the registry. */
  async direct(hosts: number): Promise<Outcome> {
    return await this.#measure(this.#hosts.slice(0, hosts), (host) => this.#pull(host, `http://${this.#fleet.registry.name}`))
  }

  /** Every host pulls from one docker-registry that caches, on a host of its own. */
  async throughCache(hosts: number): Promise<Outcome> {
    const cache = await Registry.start(this.#cacheHost, { cacheOf: `http://${this.#fleet.registry.name}` })
    try {
      const url = `http://${this.#cacheHost.address}:${REGISTRY_PORT}`
      return await this.#measure(this.#hosts.slice(0, hosts), (host) => this.#pull(host, url))
    } finally {
      await cache.process.stop()
      rmSync(join(this.#cacheHost.dir, 'registry'), { recursive: true, force: true })
    }
  }

  /** Every host pulls through its own agent, which has nothing yet. */
  async throughAgents(hosts: number, run: AgentRun = {}): Promise<Outcome> {
    const agents = await this.#fleet.startAgents(...Array.from({ length: hosts }, (_, index) => index + 1))
    const killed = new Set<Agent>()
    const stop = new AbortController()
    const deaths = this.#kill(agents, killed, run.deaths, stop.signal)
    try {
      const byHost = new Map(agents.map((agent) => [agent.host, agent]))
      return await this.#measure(
        agents.map(({ host }) => host),
        async (host, index) => {
          const agent = byHost.get(host) as Agent
          if (run.arrivalsMs !== undefined) await sleep((run.arrivalsMs * index) / Math.max(1, hosts - 1))
          const started = performance.now()
          try {
            await this.#pull(host, agent.mirror, `?ns=${this.#fleet.registry.name}`)
          } catch (error) {
            if (killed.has(agent)) return undefined
            throw error
          }
          return killed.has(agent) ? undefined : (performance.now() - started) / 1000
        }
      )
    } finally {
      stop.abort()
      await deaths
      await Promise.all(agents.map((agent) => agent.wipe()))
    }
  }

  async #kill(agents: readonly Agent[], killed: Set<Agent>, deaths: AgentRun['deaths'], signal: AbortSignal): Promise<void> {
    for (const agent of agents.slice(0, deaths?.count ?? 0)) {
      await sleep(deaths?.everyMs ?? 0, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
      killed.add(agent)
      await agent.process.crash()
    }
  }

  async #measure(hosts: readonly Host[], pull: (host: Host, index: number) => Promise<number | undefined>): Promise<Outcome> {
    const { host } = this.#fleet.registry
    const before = await host.sentBytes()
    const seconds = await Promise.all(hosts.map(pull))
    return { seconds: seconds.filter((value) => value !== undefined), registryBytes: (await host.sentBytes()) - before }
  }

  /** As a container runtime does: the manifest, then all that it names at once. @returns seconds */
  async #pull(host: Host, base: string, query = ''): Promise<number> {
    const started = performance.now()
    const get = async (path: string, keep: 'text' | 'count') => {
      const headers = keep === 'text' ? { accept: MANIFEST } : {}
      const timeoutMs = 3_600_000
      const result = await host.client.http(`${base}/v2/${REPOSITORY}/${path}${query}`, { keep, headers, timeoutMs })
      if (result.status !== 200) throw new Error(`${host.name}: ${path}: ${result.status}`)
      return result.bytes
    }
    await get('manifests/v1', 'text')
    const { config, layers } = this.#image
    await Promise.all(
      [config, ...layers].map(async ({ digest, size }) => {
        const bytes = await get(`blobs/${digest}`, 'count')
        if (bytes !== size) throw new Error(`${host.name}: ${bytes} bytes of ${digest}, which has ${size}`)
      })
    )
    return (performance.now() - started) / 1000
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fleet[Symbol.asyncDispose]()
  }
}
