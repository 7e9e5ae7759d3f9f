import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOf } from '@layerswarm/core/piece-layout.ts'
import fc from 'fast-check'
import { blobOfRuns, piecesOf, seeded, TestFleet } from './test-fleet.ts'

const RUNS = 12
const blob = blobOfRuns(RUNS)
const HOSTS = 30

interface Agent {
  readonly id: string
  readonly origin: boolean
  /** Runs that it believes to be leased to it. */
  readonly leases: Set<number>
  readonly got: Set<number>
  barred: boolean
  read: number
}

/** Agents that do as they are told, die, give up and come back, in any order. */
class World {
  readonly fleet: TestFleet
  readonly agents = new Map<string, Agent>()
  cap = 20

  constructor(seed: number) {
    this.fleet = new TestFleet({ random: seeded(seed) })
  }

  /** One of those that are there. */
  pick(n: number): Agent | undefined {
    return [...this.agents.values()][n % Math.max(1, this.agents.size)]
  }

  plan(agent: Agent): void {
    this.fleet.plan(agent.id, [blob], { origin: agent.origin })
    this.listen()
  }

  join(n: number, origin: boolean): void {
    const id = `h${n}`
    if (this.agents.has(id)) return
    this.agents.set(id, { id, origin, leases: new Set(), got: new Set(), barred: false, read: 0 })
    this.fleet.inbox.delete(id)
    this.fleet.ask(id, blob, { origin })
    this.listen()
  }

  leave(agent: Agent): void {
    this.agents.delete(agent.id)
    this.fleet.leave(agent.id)
    this.listen()
  }

  /**
   * Fetches up to `count` leased pieces, and reports them with those leased that it had before.
   * `spread`: others of the swarm have them as well at once.
   */
  fetch(agent: Agent, count: number, spread: boolean): void {
    const leased = [...agent.leases].flatMap((run) => piecesOf(run))
    const missing = leased.filter((piece) => !agent.got.has(piece)).slice(0, count)
    for (const piece of missing) agent.got.add(piece)
    const pieces = leased.filter((piece) => agent.got.has(piece))
    const others = [...this.agents.values()].filter((other) => other !== agent)
    if (spread) for (const other of others) for (const piece of pieces) other.got.add(piece)
    this.fleet.report(agent.id, blob.digest, pieces, spread && others.length > 0 ? pieces : [])
    if (spread) for (const run of agent.leases) if (piecesOf(run).every((piece) => agent.got.has(piece))) agent.leases.delete(run)
    this.listen()
  }

  release(agent: Agent, reason: 'denied' | 'failed' | 'busy'): void {
    const runs = [...agent.leases].filter((run) => piecesOf(run).some((piece) => !agent.got.has(piece)))
    for (const run of reason === 'denied' ? [...agent.leases] : runs) agent.leases.delete(run)
    agent.barred ||= reason === 'denied'
    this.fleet.say(agent.id, { t: 'release', blob: blob.digest, runs, reason, bar: reason === 'denied' })
    this.listen()
  }

  pass(ms: number, quiet: Agent | undefined): void {
    for (let left = ms; left > 0; left -= 100) {
      for (const agent of this.agents.values()) if (agent !== quiet) this.fetch(agent, 0, true)
      this.fleet.run(100)
      this.listen()
    }
  }

  /** Agents read what came, and nothing that came may break a rule. */
  listen(): void {
    for (const agent of this.agents.values()) {
      const inbox = this.fleet.inbox.get(agent.id) ?? []
      for (; agent.read < inbox.length; agent.read++) {
        const message = inbox[agent.read]
        const grant = message?.t === 'leases' ? message.grant : message?.t === 'plan' ? message.blobs.flatMap(({ leases }) => leases) : []
        if (message?.t === 'leases') for (const run of message.revoke) agent.leases.delete(run)
        for (const lease of grant) {
          assert.equal(lease.holder, agent.id)
          assert.ok(agent.origin && !agent.barred, `${agent.id} may not fetch`)
          agent.leases.add(lease.run)
        }
      }
    }
    const seen = new Map<number, string>()
    for (const agent of this.agents.values()) {
      for (const run of agent.leases) {
        assert.equal(seen.get(run), undefined, `run ${run} is leased to ${agent.id} and ${seen.get(run)}`)
        seen.set(run, agent.id)
      }
    }
    for (const host of this.fleet.state.hosts.values()) {
      assert.ok(host.links.size <= this.cap, `${host.id} has ${host.links.size} connections`)
      const open = [...(this.fleet.state.blobs.get(blob.digest)?.campaign?.holders.get(host)?.open.keys() ?? [])].length
      assert.equal(host.outstanding, open)
      assert.equal(host.brief.runs, open, 'the blob is a brief one')
      assert.equal(host.brief.bytes > 0, open > 0)
    }
  }

  /** With hosts that fetch, and say what nobody has, every piece arrives. */
  finish(): void {
    // The one host that has a piece is named beyond the cap.
    this.cap = 40
    this.join(HOSTS, true)
    for (let i = 0; i < 400; i++) {
      const missing = piecesOf(...Array(RUNS).keys()).filter((piece) => ![...this.agents.values()].some(({ got }) => got.has(piece)))
      if (missing.length === 0) return
      for (const agent of this.agents.values()) this.fetch(agent, 8, true)
      if (i % 5 === 4) {
        const asker = this.agents.get(`h${HOSTS}`)
        const held = new Set([...this.agents.values()].flatMap(({ leases }) => [...leases]))
        const orphans = missing.filter((piece) => !held.has(runOf(piece)))
        if (asker !== undefined && orphans.length > 0) this.fleet.say(asker.id, { t: 'orphans', blob: blob.digest, pieces: orphans })
      }
      this.fleet.run(100)
      this.listen()
    }
    assert.fail('pieces that nobody ever fetched')
  }
}

const n = fc.nat(HOSTS - 1)
const action = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('join' as const), n, origin: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('fetch' as const), n, count: fc.nat(20), spread: fc.boolean() }) },
  fc.record({ do: fc.constant('plan' as const), n }),
  fc.record({ do: fc.constant('leave' as const), n }),
  fc.record({ do: fc.constant('release' as const), n, reason: fc.constantFrom('denied' as const, 'failed' as const, 'busy' as const) }),
  { weight: 6, arbitrary: fc.record({ do: fc.constant('peers' as const), n, live: fc.nat(14) }) },
  fc.record({ do: fc.constant('pass' as const), n, ms: fc.integer({ min: 100, max: 1500 }) })
)

test('whatever happens, a run has one live holder, no barred host fetches, no host is overfull, and the blob gets there', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(HOSTS - 1), fc.array(action, { minLength: 10, maxLength: 60 }), (seed, crowd, actions) => {
      const world = new World(seed)
      for (let host = 0; host < crowd; host++) world.join(host, host % 3 !== 2)
      for (const step of actions) {
        const agent = world.pick(step.n)
        if (step.do === 'join') world.join(step.n, step.origin)
        if (agent === undefined) continue
        if (step.do === 'fetch') world.fetch(agent, step.count, step.spread)
        if (step.do === 'plan') world.plan(agent)
        if (step.do === 'leave') world.leave(agent)
        if (step.do === 'release') world.release(agent, step.reason)
        if (step.do === 'peers') world.fleet.say(agent.id, { t: 'peers', blob: blob.digest, live: step.live })
        if (step.do === 'pass') world.pass(step.ms, agent)
        world.listen()
      }
      world.finish()
    }),
    { numRuns: 300, seed: 20_240 }
  )
})

test('a fleet that has gone leaves nothing behind', () => {
  const fleet = new TestFleet()
  for (let i = 0; i < 20; i++) fleet.ask(`h${i}`, blob)
  fleet.hold('h3', blob)
  fleet.join('idle')
  fleet.hold('idle', blobOfRuns(3, 'other'))
  for (let i = 0; i < 20; i++) fleet.leave(`h${i}`)
  fleet.leave('idle')
  assert.deepEqual([fleet.state.hosts.size, fleet.state.blobs.size, fleet.state.campaigns.size, fleet.state.maps.size], [0, 0, 0, 0])
})
