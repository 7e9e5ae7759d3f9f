import { type Claim, verifyClaim } from '@layerswarm/core/claims.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { TrackerMetrics } from '@layerswarm/core/metrics.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import type { Identity } from '@layerswarm/core/p2p/identity.ts'
import type { P2pNode } from '@layerswarm/core/p2p/node.ts'
import { type AgentMessage, agentMessage, DIRECTORY_PROTOCOL, MAX_DIRECTORY_MESSAGE } from '@layerswarm/core/wire/directory-protocol.ts'
import { decodeMessage } from '@layerswarm/core/wire/frames.ts'
import { TICK_MS } from '../planner/limits.ts'
import type { PlannerCommand, PlannerEvent, PlannerMessage } from '../planner/messages.ts'
import { step } from '../planner/step.ts'
import type { Seeds } from '../seeds/seeds.ts'
import type { FleetState } from '../state/model.ts'
import { Session } from './session.ts'

const TOO_MANY_ZONES = 'the fleet has too many zones: hosts of further ones are taken as hosts without a zone'

export interface EndpointDeps {
  readonly node: Pick<P2pNode, 'handle' | 'unhandle' | 'addressOf'>
  readonly identity: Identity
  readonly state: FleetState
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: Pick<TrackerMetrics, 'planSeconds'>
  /** Hears which hosts there are, and how seeds fare at them. */
  readonly seeds: Pick<Seeds, 'joined' | 'left' | 'report'>
  /** Called after each tick, and before the streams are closed. */
  readonly onTick?: () => void
}

/**
 * The directory protocol's tracker side: turns what agents say into planner events, and commands into messages.
 * An agent that breaks the protocol loses its stream; so does one that does not read.
 */
export class AgentEndpoint implements AsyncDisposable {
  readonly #deps: EndpointDeps
  readonly #sessions = new Map<string, Session>()
  /** Sessions whose evidence is being checked. */
  readonly #weighing = new Set<Session>()
  #toldOfZones = false
  readonly #stop = new AbortController()
  #ticking: Promise<void> = Promise.resolve()

  constructor(deps: EndpointDeps) {
    this.#deps = deps
  }

  async open(): Promise<void> {
    await this.#deps.node.handle(DIRECTORY_PROTOCOL, { maxMessage: MAX_DIRECTORY_MESSAGE }, (stream) => this.#accept(stream))
    this.#ticking = this.#tick()
  }

  /** Accepts no more agents and closes the streams of those that are there. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#deps.node.unhandle(DIRECTORY_PROTOCOL)
    await this.#ticking
    this.#deps.onTick?.()
    await Promise.all([...this.#sessions.values()].map(({ stream }) => stream.close()))
  }

  /** Says something to a host; nothing when it is not connected. */
  send(host: string, message: PlannerMessage): void {
    this.#sessions.get(host)?.post(message)
  }

  #accept(stream: FramedStream): void {
    const { node, identity, log } = this.#deps
    const host = stream.peer
    if (this.#stop.signal.aborted) {
      void stream.close()
      return
    }
    this.#sessions.get(host)?.stream.abort(new LayerswarmError('PEER_PROTOCOL', { detail: 'the same host opened another stream' }))
    const session = new Session(stream, identity)
    this.#sessions.set(host, session)
    const seenAt = node.addressOf(host)?.split('/tcp/')[0]
    this.#apply({ type: 'joined', host, ...(seenAt === undefined ? {} : { seenAt }) })
    stream.start({
      onMessage: (body) => this.#take(host, decodeMessage(agentMessage, body)),
      onClose: (error) => {
        if (this.#sessions.get(host) !== session) return
        this.#sessions.delete(host)
        const name = this.#deps.state.hosts.get(host)?.name
        this.#apply({ type: 'left', host })
        this.#deps.seeds.left(host)
        log.info({ peer: host, name, ...(error === undefined ? {} : { error: describeError(error) }) }, 'agent gone')
      }
    })
  }

  #take(host: string, message: AgentMessage): void {
    if (message.t === 'evidence') {
      void this.#weigh(host, message)
      return
    }
    const { clock, log, metrics, seeds, state } = this.#deps
    const from = clock.now()
    this.#apply({ type: 'message', host, message })
    if (message.t === 'plan') metrics.planSeconds.observe((clock.now() - from) / 1000)
    const said = state.hosts.get(host)
    if (message.t === 'seeding') seeds.report(host, message)
    if (message.t !== 'hello') return
    log.info({ peer: host, name: message.name, zone: message.zone, version: message.version }, 'agent connected')
    if (said === undefined) return
    seeds.joined({ id: said.id, name: said.name, zone: said.statedZone }, message.seeds === true)
    if (said.zone !== said.statedZone && !this.#toldOfZones) {
      this.#toldOfZones = true
      log.warn({ peer: host, name: said.name, zone: said.statedZone, zones: state.zones.size }, TOO_MANY_ZONES)
    }
  }

  /** Signatures take a while to check: one message of a host at a time, what else it brings meanwhile is dropped. */
  async #weigh(host: string, evidence: Extract<AgentMessage, { t: 'evidence' }>): Promise<void> {
    const session = this.#sessions.get(host)
    if (session === undefined || this.#weighing.has(session)) return
    this.#weighing.add(session)
    try {
      const claims: Claim[] = []
      for (const claim of evidence.claims) {
        const ours = claim.blob === evidence.blob && claim.lease?.by === this.#deps.identity.id
        if (!ours) continue
        await new Promise(setImmediate)
        if (verifyClaim(claim)) claims.push(claim)
      }
      if (claims.length > 0 && this.#sessions.get(host) === session) {
        this.#apply({ type: 'message', host, message: { ...evidence, claims } })
      }
    } finally {
      this.#weighing.delete(session)
    }
  }

  #apply(event: PlannerEvent): void {
    for (const command of step(this.#deps.state, event, this.#deps.clock.now())) this.#carryOut(command)
  }

  #carryOut(command: PlannerCommand): void {
    const { log } = this.#deps
    switch (command.type) {
      case 'send':
        this.#sessions.get(command.host)?.post(command.message)
        break
      case 'disconnect':
        this.#sessions.get(command.host)?.stream.abort(new LayerswarmError('PEER_PROTOCOL', { detail: command.reason }))
        break
      case 'doubted':
        log.error({ peers: command.hosts, digest: command.blob }, 'the registry, or a proxy before it, sent these hosts false bytes')
        break
      case 'convicted': {
        const { host, name, blob, forGood } = command
        log.error({ peer: host, name, digest: blob, forGood }, 'a host vouched for false bytes; it vouches for nothing any more')
      }
    }
  }

  async #tick(): Promise<void> {
    const { clock, onTick } = this.#deps
    const { signal } = this.#stop
    while (!signal.aborted) {
      this.#apply({ type: 'tick' })
      onTick?.()
      await clock.sleep(TICK_MS, { signal }).catch(() => undefined)
    }
  }
}
