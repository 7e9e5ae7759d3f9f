import type { Lease } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { layoutOf, type PieceLayout } from '@layerswarm/core/piece-layout.ts'
import type { AgentMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { TICK_MS as PLANNER_TICK_MS } from '@layerswarm/tracker/planner/limits.ts'
import type { PlannerMessage } from '@layerswarm/tracker/planner/messages.ts'
import { createPlanner, step as plan } from '@layerswarm/tracker/planner/step.ts'
import { alone } from './direct.ts'
import { EventQueue } from './event-queue.ts'
import { SimHost } from './host.ts'
import { Link } from './link.ts'
import { SimRegistry } from './registry.ts'

export interface Scenario {
  readonly hosts: number
  /** Bytes of each layer. */
  readonly layers: readonly number[]
  /** Bytes a second of every host's link, each way. */
  readonly rate?: number
  /** The registry's uplink over a host's link. */
  readonly registry?: number
  readonly ranged?: boolean
  /** What the registry gives one connection, over a host's link. */
  readonly perConnection?: number
  /** Connections that compete for the registry's link get unequal parts of it: the largest over the smallest. */
  readonly uneven?: number
  /** Share of hosts whose link has a tenth of the rate. */
  readonly slow?: number
  readonly slowKnown?: boolean
  /** Share of hosts that die without a word, at a random time within the bound. */
  readonly deaths?: number
  /** Hosts that are killed one after another, the first askers, and the time between two of them, ms: their connections close. */
  readonly kills?: { readonly count: number; readonly each: number }
  /** Hosts arrive evenly over this time, ms. */
  readonly arrivals?: number
  /** The last host arrives when the others have this share. */
  readonly newcomerAt?: number
  /** Layers that each host's client reads at a time. The bound is then what such a client takes alone, without an agent. */
  readonly reads?: number
  readonly zones?: number
  /** What passes from one zone to another, each way, over a host's link. */
  readonly zoneLink?: number
  readonly seed?: number
}

export interface Outcome {
  readonly last: number
  readonly p50: number
  readonly copies: number
  readonly duplicates: number
  readonly haves: number
  readonly requests: number
  readonly tracker: number
  readonly seconds: number
  /** Bytes that crossed from one zone to another over those of the content. */
  readonly crossed: number
}

const DEFAULT_RATE = 125_000_000
const TRACKER_RTT_MS = 6
/** CPU of the tracker per plan, ms: plans queue. */
const PLAN_MS = 0.05
/** Wait for the first byte of a registry's answer, ms. */
const FIRST_BYTE_MS = 30
const TIME_LIMIT_MS = 3_600_000

/** A fleet, its network, registry and tracker in virtual time. Agents and tracker decide with the shipped code. */
export class World {
  readonly queue = new EventQueue()
  readonly random: () => number
  readonly rtt = 0.5
  readonly registry: SimRegistry
  readonly statesRates: boolean
  readonly hosts: SimHost[] = []
  readonly #byId = new Map<string, SimHost>()
  readonly #layouts = new Map<Digest, PieceLayout>()
  readonly #fleet
  readonly #scenario: Scenario
  /** What a host would take alone, ms. */
  readonly #bound: number
  #unfinished = 0
  #trackerFreeAt = 0
  readonly #zoneLinks = new Map<string, Link>()
  #crossed = 0

  constructor(scenario: Scenario) {
    this.#scenario = scenario
    const random = new SeededRandom(scenario.seed ?? 1)
    this.random = () => random.next()
    const rate = scenario.rate ?? DEFAULT_RATE
    const registry = {
      rate: rate * (scenario.registry ?? 1),
      firstByte: FIRST_BYTE_MS,
      ranged: scenario.ranged ?? true,
      perConnection: rate * (scenario.perConnection ?? Number.POSITIVE_INFINITY)
    }
    this.registry = new SimRegistry(this.queue, registry)
    this.statesRates = scenario.slowKnown ?? false
    const wants = scenario.layers.map((size, i) => ({ digest: `sha256:${String(i).padStart(64, '0')}` as Digest, layout: layoutOf(size) }))
    for (const { digest, layout } of wants) this.#layouts.set(digest, layout)
    const size = scenario.layers.reduce((sum, layer) => sum + layer, 0)
    this.#bound =
      scenario.reads === undefined ? (size / Math.min(rate, registry.rate)) * 1000 : alone(scenario.layers, rate, registry, scenario.reads)
    const slowHosts = Math.round(scenario.hosts * (scenario.slow ?? 0))
    const slow = new Set<number>()
    while (slow.size < slowHosts) slow.add(Math.floor(this.random() * scenario.hosts))
    this.#fleet = createPlanner({ random: this.random }, Number.NEGATIVE_INFINITY)
    for (let i = 0; i < scenario.hosts; i++) {
      const host = new SimHost(
        this,
        {
          id: `h${i}`,
          zone: `z${i % (scenario.zones ?? 1)}`,
          rate: slow.has(i) ? rate / 10 : rate,
          reads: scenario.reads,
          registryShare: scenario.uneven === undefined ? 1 : scenario.uneven ** this.random()
        },
        wants
      )
      this.hosts.push(host)
      this.#byId.set(host.id, host)
    }
  }

  host(id: string): SimHost {
    const host = this.#byId.get(id)
    if (host === undefined) throw new Error(`no host ${id}`)
    return host
  }

  layout(blob: Digest): PieceLayout {
    const layout = this.#layouts.get(blob)
    if (layout === undefined) throw new Error(`no blob ${blob}`)
    return layout
  }

  /** @returns what `bytes` from one host to another pass between zones; undefined inside one */
  between(from: SimHost, to: SimHost, bytes: number): Link | undefined {
    if (from.zone === to.zone) return undefined
    this.#crossed += bytes
    const name = `${from.zone} ${to.zone}`
    const link = this.#zoneLinks.get(name) ?? new Link((this.#scenario.rate ?? DEFAULT_RATE) * (this.#scenario.zoneLink ?? 1))
    this.#zoneLinks.set(name, link)
    return link
  }

  connect(from: SimHost, id: string): void {
    const to = this.host(id)
    this.queue.after(this.rtt, () => {
      if (from.dead || to.dead || from.neighbours.has(to)) return
      from.neighbours.add(to)
      to.neighbours.add(from)
      from.dispatch({ type: 'up', peer: to.id })
      to.dispatch({ type: 'up', peer: from.id })
    })
  }

  tell(host: SimHost, message: AgentMessage): void {
    host.counts.tracker++
    this.queue.after(TRACKER_RTT_MS / 2, () => {
      if (message.t !== 'plan') return this.#plan({ type: 'message', host: host.id, message })
      this.#trackerFreeAt = Math.max(this.queue.now, this.#trackerFreeAt) + PLAN_MS
      this.queue.at(this.#trackerFreeAt, () => this.#plan({ type: 'message', host: host.id, message }))
    })
  }

  #plan(event: Parameters<typeof plan>[1]): void {
    for (const command of plan(this.#fleet, event, this.queue.now)) {
      if (command.type !== 'send') continue
      const host = this.host(command.host)
      this.queue.after(TRACKER_RTT_MS / 2, () => this.#deliver(host, command.message))
    }
  }

  #deliver(host: SimHost, message: PlannerMessage): void {
    host.counts.tracker++
    if (message.t === 'plan') {
      for (const blob of message.blobs) {
        host.dispatch({ type: 'planned', blob: blob.digest, gateway: blob.gateway })
        host.dispatch({ type: 'leases', blob: blob.digest, grant: blob.leases as Lease[], revoke: [] })
      }
      host.dispatch({ type: 'peers', peers: message.peers })
    } else if (message.t === 'leases') {
      host.dispatch({ type: 'leases', blob: message.blob, grant: message.grant as Lease[], revoke: message.revoke })
    } else if (message.t === 'peers') {
      host.dispatch({ type: 'peers', peers: message.peers })
      if (message.gateway !== undefined) host.dispatch({ type: 'place', blob: message.blob, gateway: message.gateway })
    }
  }

  finished(_host: SimHost): void {
    this.#unfinished--
  }

  run(): Outcome {
    const { hosts: count, arrivals = 0, deaths = 0, newcomerAt, zones = 1 } = this.#scenario
    const size = this.#scenario.layers.reduce((sum, layer) => sum + layer, 0)
    const bound = this.#bound
    this.#unfinished = count
    this.hosts.forEach((host, i) => {
      this.#plan({ type: 'joined', host: host.id })
      const zone = zones > 1 ? { zone: host.zone } : {}
      this.#plan({ type: 'message', host: host.id, message: { t: 'hello', name: host.id, version: '0', port: 1, addrs: [], ...zone } })
      this.#plan({ type: 'message', host: host.id, message: { t: 'hold', full: true, add: [], drop: [] } })
      if (newcomerAt !== undefined && i === count - 1) this.#whenReady(host, newcomerAt)
      else this.queue.at(100 + (arrivals * i) / Math.max(1, count - 1), () => host.start())
    })
    const doomed = new Set<SimHost>()
    while (doomed.size < Math.round(count * deaths)) doomed.add(this.hosts[Math.floor(this.random() * count)] as SimHost)
    for (const host of doomed) {
      this.queue.at(100 + this.random() * bound, () => {
        if (host.finishedAt === undefined) this.#unfinished--
        host.die()
        // Neighbours and tracker notice only by silence: nothing closes the connections.
      })
    }
    const { kills = { count: 0, each: 0 } } = this.#scenario
    for (let i = 1; i <= kills.count; i++) this.queue.at(100 + i * kills.each, () => this.#kill(this.hosts[i] as SimHost))
    const tick = () => {
      this.#plan({ type: 'tick' })
      this.queue.after(PLANNER_TICK_MS, tick)
    }
    tick()
    const done = this.queue.runUntil(() => this.#unfinished === 0, TIME_LIMIT_MS)
    const living = this.hosts.filter((host) => !host.dead)
    const ratios = living.map((host) => {
      const own = Math.max(bound, (size / (host.down.rate * 1000)) * 1000)
      return done || host.finishedAt !== undefined ? ((host.finishedAt ?? 0) - host.startedAt) / own : Number.POSITIVE_INFINITY
    })
    ratios.sort((a, b) => a - b)
    const mean = (pick: (host: SimHost) => number) => living.reduce((sum, host) => sum + pick(host), 0) / living.length
    return {
      last: ratios.at(-1) ?? 0,
      p50: ratios[ratios.length >> 1] ?? 0,
      copies: this.registry.sent / size,
      duplicates: mean((host) => host.duplicateBytes) / size,
      haves: mean((host) => host.counts.haves),
      requests: mean((host) => host.counts.requests),
      tracker: mean((host) => host.counts.tracker),
      seconds: this.queue.now / 1000,
      crossed: this.#crossed / size
    }
  }

  #kill(host: SimHost): void {
    if (host.finishedAt === undefined) this.#unfinished--
    host.die()
    for (const neighbour of host.neighbours) neighbour.dispatch({ type: 'down', peer: host.id })
    this.#plan({ type: 'left', host: host.id })
  }

  #whenReady(newcomer: SimHost, share: number): void {
    const [first] = this.hosts
    const pieces = [...this.#layouts.values()].reduce((sum, layout) => sum + layout.pieces, 0)
    const look = () => {
      if ((first?.progress ?? 0) >= share * pieces) newcomer.start()
      else this.queue.after(10, look)
    }
    this.queue.after(100, look)
  }
}
