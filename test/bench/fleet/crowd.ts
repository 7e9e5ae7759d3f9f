import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fleet } from '../../harness/fleet.ts'
import type { Agent } from '../../harness/layerswarm.ts'
import type { Host } from '../../harness/network.ts'
import type { PublishedImage } from '../../harness/published-image.ts'
import { REGISTRY_PORT, Registry } from '../../harness/registry.ts'
import { MIB } from '../measure.ts'

const REPOSITORY = 'bench/app'
/** What agents that have run for a while have pulled before: an image of another repository, large and small layers. */
const EARLIER = { repository: 'bench/earlier', sizes: [48 * MIB, ...Array.from({ length: 16 }, () => 200 * 1024)] }
/** Until what an image leaves to be done is done, ms. */
const SETTLE_MS = 2000
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

export interface CrowdOptions {
  /** The largest crowd that is measured. */
  readonly hosts: number
  /** The rate of every link in both directions, as `tc` writes it. */
  readonly rate: string
  /** Sizes of the layers, bytes. */
  readonly layers: readonly number[]
  /** Agents that have only just started, instead of such as have pulled another image. */
  readonly fresh?: boolean
}

interface Published {
  readonly repository: string
  readonly image: PublishedImage
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

/** What a benchmark says of the agents that it measured. */
export function agentsAre(fresh: boolean): string {
  return fresh ? 'agents that have just started' : 'agents that have pulled another image before'
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
  readonly #image: Published
  readonly #earlier: Published | undefined
  readonly #hosts: readonly Host[]
  readonly #cacheHost: Host

  private constructor(fleet: Fleet, image: Published, earlier: Published | undefined) {
    this.#fleet = fleet
    this.#image = image
    this.#earlier = earlier
    this.#hosts = fleet.hosts.slice(0, -1)
    this.#cacheHost = fleet.host(fleet.hosts.length)
  }

  static async create({ hosts, rate, layers, fresh = false }: CrowdOptions): Promise<Crowd> {
    await using stack = new AsyncDisposableStack()
    const fleet = stack.use(await Fleet.create({ hosts: hosts + 1, rate }))
    const publish = async (repository: string, sizes: readonly number[]): Promise<Published> => {
      const specs = sizes.map((size, index) => ({ seed: `${repository} ${index}`, size }))
      return { repository, image: await fleet.registry.publish(repository, { layers: specs }) }
    }
    const image = await publish(REPOSITORY, layers)
    const earlier = fresh ? undefined : await publish(EARLIER.repository, EARLIER.sizes)
    // The programs that play the clients start with their first request.
    await Promise.all(fleet.hosts.map((host) => host.client.http(`http://${fleet.registry.name}/v2/`)))
    stack.move()
    return new Crowd(fleet, image, earlier)
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

  /** Every host pulls through its own agent, which has nothing of the image yet. */
  async throughAgents(hosts: number, run: AgentRun = {}): Promise<Outcome> {
    const agents = await this.#fleet.startAgents(...Array.from({ length: hosts }, (_, index) => index + 1))
    const query = `?ns=${this.#fleet.registry.name}`
    const earlier = this.#earlier
    if (earlier !== undefined) {
      await Promise.all(agents.map(({ host, mirror }) => this.#pull(host, mirror, query, earlier)))
      await sleep(SETTLE_MS)
    }
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
            await this.#pull(host, agent.mirror, query)
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
  async #pull(host: Host, base: string, query = '', { repository, image }: Published = this.#image): Promise<number> {
    const started = performance.now()
    const get = async (path: string, keep: 'text' | 'count') => {
      const headers = keep === 'text' ? { accept: MANIFEST } : {}
      const timeoutMs = 3_600_000
      const result = await host.client.http(`${base}/v2/${repository}/${path}${query}`, { keep, headers, timeoutMs })
      if (result.status !== 200) throw new Error(`${host.name}: ${path}: ${result.status}`)
      return result.bytes
    }
    await get('manifests/v1', 'text')
    const { config, layers } = image
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
