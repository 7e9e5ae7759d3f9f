import assert from 'node:assert/strict'
import { verifyBlobs } from './content.ts'
import { Agent, type AgentOptions, newClusterKey, Tracker } from './layerswarm.ts'
import { type Host, Network, type NetworkOptions } from './network.ts'
import { Registry } from './registry.ts'

/** A registry, a tracker and hosts for agents, each on a network host of its own. */
export class Fleet implements AsyncDisposable {
  readonly network: Network
  readonly registry: Registry
  readonly tracker: Tracker
  readonly hosts: readonly Host[]
  readonly #agents = new Map<Host, Agent>()

  private constructor(network: Network, hosts: readonly Host[], registry: Registry, tracker: Tracker) {
    this.network = network
    this.hosts = hosts
    this.registry = registry
    this.tracker = tracker
  }

  static async create(options: NetworkOptions): Promise<Fleet> {
    await using stack = new AsyncDisposableStack()
    const network = stack.use(await Network.create({ ...options, hosts: options.hosts + 1 }))
    const hosts = network.hosts.slice(0, -1)
    const trackerHost = network.hosts.at(-1)
    assert.ok(trackerHost)
    const registry = await Registry.start(network.registry)
    const tracker = await Tracker.start(trackerHost, await newClusterKey(trackerHost, network.dir))
    stack.move()
    return new Fleet(network, hosts, registry, tracker)
  }

  /** The host with this number, from 1. */
  host(number: number): Host {
    const host = this.hosts[number - 1]
    assert.ok(host, `the fleet has no host ${number}`)
    return host
  }

  /** Starts an agent of this fleet on a host. */
  async startAgent(host: Host, options: AgentOptions = {}): Promise<Agent> {
    const agent = await Agent.start(host, this.agentOptions(options))
    this.#agents.set(host, agent)
    return agent
  }

  /** Starts an agent on each of the hosts with these numbers. */
  async startAgents(...numbers: number[]): Promise<Agent[]> {
    return await Promise.all(numbers.map((number) => this.startAgent(this.host(number))))
  }

  agentOptions(options: AgentOptions = {}): AgentOptions {
    return {
      clusterKey: this.tracker.clusterKey,
      tracker: this.tracker.address,
      insecureRegistry: this.registry.name,
      ...options
    }
  }

  /** Checks every blob that any agent of the fleet has stored, by its digest. */
  async verifyStores(): Promise<void> {
    for (const agent of this.#agents.values()) await verifyBlobs(agent.blobs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.network[Symbol.asyncDispose]()
  }
}
