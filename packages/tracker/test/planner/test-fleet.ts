import { createHash } from 'node:crypto'
import type { Digest } from '@layerswarm/core/digest.ts'
import { layoutOf, RUN_PIECES } from '@layerswarm/core/piece-layout.ts'
import type { AgentMessage, Holding } from '@layerswarm/core/wire/directory-protocol.ts'
import type { PlannerCommand, PlannerMessage } from '../../src/planner/messages.ts'
import { createPlanner, step } from '../../src/planner/step.ts'
import type { FleetOptions } from '../../src/state/facts.ts'
import type { FleetState } from '../../src/state/model.ts'

export const SCOPE = 'docker.io/library/app'
export const RUN_BYTES = RUN_PIECES * layoutOf(1).pieceSize

export function digestNamed(name: string): Digest {
  return `sha256:${createHash('sha256').update(name).digest('hex')}` as Digest
}

/** A blob of whole runs of the smallest pieces. */
export function blobOfRuns(runs: number, name = 'layer'): { digest: Digest; size: number } {
  return { digest: digestNamed(name), size: runs * RUN_BYTES }
}

export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

type Plan = Extract<PlannerMessage, { t: 'plan' }>
type Of<T extends PlannerMessage['t']> = Extract<PlannerMessage, { t: T }>

/** A planner under virtual time, and everything it said to each host. */
export class TestFleet {
  readonly state: FleetState
  now: number
  readonly inbox = new Map<string, PlannerMessage[]>()
  readonly disconnected: string[] = []
  readonly convicted: Extract<PlannerCommand, { type: 'convicted' }>[] = []
  readonly doubted: Extract<PlannerCommand, { type: 'doubted' }>[] = []

  constructor(options: Partial<FleetOptions> = {}, now = 10_000) {
    this.now = now
    this.state = createPlanner({ random: seeded(1), ...options }, now)
  }

  join(host: string, options: { zone?: string; seenAt?: string; port?: number; addrs?: string[] } = {}): void {
    this.apply(step(this.state, { type: 'joined', host, ...(options.seenAt === undefined ? {} : { seenAt: options.seenAt }) }, this.now))
    const { zone, port = 0, addrs = [`/dns4/${host}/tcp/1`] } = options
    this.say(host, { t: 'hello', name: host, version: 'test', port, addrs, ...(zone === undefined ? {} : { zone }) })
  }

  leave(host: string): void {
    this.apply(step(this.state, { type: 'left', host }, this.now))
  }

  say(host: string, message: AgentMessage): void {
    this.apply(step(this.state, { type: 'message', host, message }, this.now))
  }

  hold(host: string, ...add: Holding[]): void {
    this.say(host, { t: 'hold', full: false, add, drop: [] })
  }

  plan(
    host: string,
    blobs: readonly { digest: Digest; size?: number }[],
    options: { origin?: boolean; want?: boolean; rate?: number; scope?: string } = {}
  ): Plan {
    const { origin = true, want = true, rate, scope = SCOPE } = options
    this.say(host, { t: 'plan', id: 1, scope, blobs: [...blobs], origin, want, ...(rate === undefined ? {} : { rate }) })
    const plan = this.of(host, 'plan').at(-1)
    if (plan === undefined) throw new Error('no plan came')
    return plan
  }

  /** Joins and asks in one go. @returns the runs leased with the plan */
  ask(host: string, blob: { digest: Digest; size: number }, options: { rate?: number; zone?: string; origin?: boolean } = {}): number[] {
    this.join(host, options.zone === undefined ? {} : { zone: options.zone })
    return this.plan(host, [blob], options).blobs[0]?.leases.map(({ run }) => run) ?? []
  }

  report(
    host: string,
    blob: Digest,
    got: readonly number[],
    spread: readonly number[] = [],
    bytes = got.length * layoutOf(1).pieceSize
  ): void {
    this.say(host, { t: 'report', blob, got: [...got], spread: [...spread], bytes })
  }

  /** Time passes in ticks of 100 ms; those of `alive` say each time that they are there. */
  run(ms: number, alive: readonly string[] = [], blob?: Digest): void {
    for (const until = this.now + ms; this.now < until; ) {
      this.now += 100
      if (blob !== undefined) for (const host of alive) this.report(host, blob, [])
      this.apply(step(this.state, { type: 'tick' }, this.now))
    }
  }

  of<T extends PlannerMessage['t']>(host: string, t: T): Of<T>[] {
    return (this.inbox.get(host) ?? []).filter((message): message is Of<T> => message.t === t)
  }

  /** Runs leased to each host now, by what the hosts were told: granted and not revoked since. */
  told(host: string): number[] {
    const runs = new Set<number>()
    for (const message of this.inbox.get(host) ?? []) {
      if (message.t === 'plan') for (const blob of message.blobs) for (const lease of blob.leases) runs.add(lease.run)
      if (message.t !== 'leases') continue
      for (const lease of message.grant) runs.add(lease.run)
      for (const run of message.revoke) runs.delete(run)
    }
    return [...runs]
  }

  clear(): void {
    this.inbox.clear()
  }

  apply(commands: readonly PlannerCommand[]): void {
    for (const command of commands) {
      if (command.type === 'disconnect') this.disconnected.push(command.host)
      if (command.type === 'convicted') this.convicted.push(command)
      if (command.type === 'doubted') this.doubted.push(command)
      if (command.type !== 'send') continue
      const messages = this.inbox.get(command.host) ?? []
      messages.push(command.message)
      this.inbox.set(command.host, messages)
    }
  }
}

/** The pieces of these runs. */
export function piecesOf(...runs: number[]): number[] {
  return runs.flatMap((run) => Array.from({ length: RUN_PIECES }, (_, i) => run * RUN_PIECES + i))
}
