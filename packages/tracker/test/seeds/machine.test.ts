import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import fc from 'fast-check'
import { begin, expectHosts, RECENT_MS, restore, step } from '../../src/seeds/machine.ts'
import {
  ABSENT_MS,
  createSeeds,
  isOpen,
  type Report,
  type Seed,
  type SeedCommand,
  type SeedEvent,
  type SeedsState
} from '../../src/seeds/model.ts'

const IMAGE = 'r.test/app:v1'
const DIGEST = `sha256:${'ab'.repeat(32)}` as Digest
const FROM_PEERS = { local: 0, peer: 80, registry: 20 }
const HERE = { local: 100, peer: 0, registry: 0 }

/** A state machine of seeds with what it said. */
class TestSeeds {
  readonly state: SeedsState = createSeeds(1000)
  now = 0
  said: SeedCommand[] = []
  #next = 0

  join(id: string, { zone = '', name = `host-${id}`, takesSeeds = true } = {}): void {
    this.step({ type: 'joined', host: { id, name, zone, takesSeeds } })
  }

  begin(hosts: readonly string[] = ['all'], image = IMAGE): Seed {
    const { seed, commands } = begin(this.state, { id: `s${this.#next++}`, spec: { image, hosts, platforms: undefined } }, this.now)
    this.said.push(...commands)
    return seed
  }

  step(event: SeedEvent): void {
    this.said.push(...step(this.state, event, this.now))
  }

  report(host: string, id: string, state: Report['state'], more: Partial<Report> = {}): void {
    const report = {
      id,
      state,
      size: 100,
      counts: state === 'done' ? FROM_PEERS : { local: 0, peer: 0, registry: 0 },
      digest: DIGEST,
      ...more
    }
    this.step({ type: 'report', host, report })
  }

  /** Time goes by in steps of a second. */
  wait(ms: number): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now = Math.min(end, this.now + 1000)
      this.step({ type: 'tick' })
    }
  }

  /** Messages said since the last call. */
  sent(): string[] {
    const sent = this.said.flatMap((command) =>
      command.type === 'send' ? [`${command.message.t} ${command.message.id} to ${command.host}`] : []
    )
    this.said = []
    return sent
  }
}

function states(seed: Seed): string[] {
  return seed.targets.map(({ name, state }) => `${name} ${state}`)
}

test('a seed is told to all hosts, and is done when they are', () => {
  const seeds = new TestSeeds()
  for (const id of ['a', 'b']) seeds.join(id)
  const seed = seeds.begin()
  assert.deepEqual(seeds.sent(), ['seed s0 to a', 'seed s0 to b'])
  seeds.report('a', 's0', 'fetching')
  seeds.report('b', 's0', 'done', { counts: HERE })
  assert.deepEqual([seed.state, states(seed)], ['running', ['host-a fetching', 'host-b here']])
  seeds.now = 3000
  seeds.report('a', 's0', 'done')
  assert.deepEqual([seed.state, seed.endedAt, states(seed)], ['done', 3000, ['host-a done', 'host-b here']])
  assert.ok(seeds.said.some(({ type }) => type === 'ended'))
})

test('a host that had it all but gave some to its containerd did something', () => {
  const seeds = new TestSeeds()
  for (const id of ['a', 'b']) seeds.join(id)
  const seed = seeds.begin()
  seeds.report('a', 's0', 'done', { counts: HERE, given: 100 })
  seeds.report('b', 's0', 'done', { counts: HERE, given: 0 })
  assert.deepEqual(states(seed), ['host-a done', 'host-b here'])
})

test('a host that cannot fetch the image fails the seed with its reason; the others go on', () => {
  const seeds = new TestSeeds()
  for (const id of ['a', 'b']) seeds.join(id)
  const seed = seeds.begin()
  const error = { code: 'REGISTRY_DENIED', message: 'the registry refused access', remedy: 'log in' }
  seeds.report('a', 's0', 'failed', { error })
  assert.equal(seed.state, 'running')
  seeds.report('b', 's0', 'done')
  assert.deepEqual([seed.state, seed.targets[0]?.error], ['failed', error])
})

test('a host that went down lately is part of the fleet: waited for, then failed with how long it is gone', () => {
  const seeds = new TestSeeds()
  for (const id of ['a', 'b']) seeds.join(id)
  seeds.step({ type: 'left', host: 'b' })
  seeds.wait(5000)
  const seed = seeds.begin()
  assert.deepEqual(seeds.sent(), ['seed s0 to a'])
  seeds.report('a', 's0', 'done')
  seeds.wait(ABSENT_MS - 1000)
  assert.deepEqual(states(seed), ['host-a done', 'host-b waiting'])
  seeds.wait(1000)
  assert.deepEqual([seed.state, states(seed)], ['failed', ['host-a done', 'host-b failed']])
  const error = seed.targets[1]?.error
  assert.deepEqual([error?.code, error?.message], ['HOST_ABSENT', 'the host is not connected to the tracker: gone for 25 s'])
})

test('a host that left long ago is no part of the fleet', () => {
  const seeds = new TestSeeds()
  for (const id of ['a', 'b']) seeds.join(id)
  seeds.step({ type: 'left', host: 'b' })
  seeds.wait(RECENT_MS)
  assert.deepEqual(states(seeds.begin()), ['host-a queued'])
})

test('a host that disconnects is waited for, and told again when it is back', () => {
  const seeds = new TestSeeds()
  seeds.join('a')
  const seed = seeds.begin()
  seeds.report('a', 's0', 'fetching')
  seeds.step({ type: 'left', host: 'a' })
  assert.deepEqual(states(seed), ['host-a waiting'])
  seeds.wait(ABSENT_MS - 1000)
  seeds.sent()
  seeds.join('a')
  assert.deepEqual(seeds.sent(), ['seed s0 to a'])
  seeds.wait(2 * ABSENT_MS)
  assert.equal(seed.state, 'running')
  seeds.report('a', 's0', 'done')
  assert.equal(seed.state, 'done')
})

test('a host given up comes back while others still fetch: it goes on; one that failed by itself does not', () => {
  const seeds = new TestSeeds()
  for (const id of ['a', 'b', 'c']) seeds.join(id)
  const seed = seeds.begin()
  seeds.step({ type: 'left', host: 'a' })
  seeds.report('b', 's0', 'failed', { error: { code: 'STORE_FULL', message: 'full', remedy: '' } })
  seeds.wait(ABSENT_MS)
  assert.deepEqual(states(seed), ['host-a failed', 'host-b failed', 'host-c queued'])
  seeds.sent()
  seeds.step({ type: 'left', host: 'b' })
  for (const id of ['a', 'b']) seeds.join(id)
  assert.deepEqual([seeds.sent(), states(seed)], [['seed s0 to a'], ['host-a queued', 'host-b failed', 'host-c queued']])
  assert.equal(seed.targets[0]?.error, undefined)
})

test('a name that no host has is waited for: it counts when one comes, and fails by its name otherwise', () => {
  const seeds = new TestSeeds()
  const seed = seeds.begin(['host-a', 'host-b'])
  assert.deepEqual(states(seed), ['host-a waiting', 'host-b waiting'])
  seeds.join('a')
  assert.deepEqual(seeds.sent(), ['seed s0 to a'])
  seeds.report('a', 's0', 'done')
  seeds.wait(ABSENT_MS)
  assert.deepEqual(states(seed), ['host-a done', 'host-b failed'])
  assert.match(seed.targets[1]?.error?.message ?? '', /no host has this name/)
})

test('a host that was set up anew, under its name, takes the place of its old self', () => {
  const seeds = new TestSeeds()
  seeds.join('old', { name: 'host' })
  const seed = seeds.begin()
  seeds.step({ type: 'left', host: 'old' })
  seeds.join('new', { name: 'host' })
  seeds.report('new', 's0', 'done')
  assert.deepEqual([seed.state, states(seed), seed.targets[0]?.id], ['done', ['host done'], 'new'])
  assert.deepEqual(states(seeds.begin()), ['host queued'])
})

test('an agent that takes no seeds fails at once', () => {
  const seeds = new TestSeeds()
  seeds.join('a', { takesSeeds: false })
  const seed = seeds.begin()
  assert.deepEqual([seed.state, seed.targets[0]?.error?.code, seeds.sent()], ['failed', 'PEER_VERSION', []])
})

test('a host that comes back with an agent that takes no seeds fails, and with the last one the seed ends', () => {
  const seeds = new TestSeeds()
  for (const id of ['a', 'b']) seeds.join(id)
  const seed = seeds.begin()
  seeds.report('b', 's0', 'done')
  seeds.step({ type: 'left', host: 'a' })
  seeds.join('a', { takesSeeds: false })
  assert.deepEqual([seed.state, states(seed), seed.open.size], ['failed', ['host-a failed', 'host-b done'], 0])
  assert.ok(seeds.said.some(({ type }) => type === 'ended'))
})

test('the same seed is joined while it runs, and begins anew afterwards', () => {
  const seeds = new TestSeeds()
  seeds.join('a')
  const first = seeds.begin()
  assert.equal(seeds.begin(), first)
  assert.notEqual(seeds.begin(['1']), first)
  seeds.report('a', first.id, 'done')
  assert.notEqual(seeds.begin(), first)
})

test('a cancelled seed is called off where it runs, and where it is heard of later', () => {
  const seeds = new TestSeeds()
  for (const id of ['a', 'b', 'c']) seeds.join(id)
  const seed = seeds.begin()
  seeds.report('a', 's0', 'done')
  seeds.step({ type: 'left', host: 'c' })
  seeds.sent()
  seeds.step({ type: 'cancel', id: 's0' })
  assert.deepEqual([seed.state, states(seed)], ['cancelled', ['host-a done', 'host-b cancelled', 'host-c cancelled']])
  assert.deepEqual(seeds.sent(), ['unseed s0 to b'])
  seeds.join('c')
  seeds.report('c', 's0', 'fetching')
  assert.deepEqual([seeds.sent(), states(seed)[2]], [['unseed s0 to c'], 'host-c cancelled'])
})

test('after a restart hosts that were not done are waited for and told again; what ended stays as it was', () => {
  const before = new TestSeeds()
  for (const id of ['a', 'b']) before.join(id)
  const ended = before.begin(['host-a'])
  before.report('a', ended.id, 'done')
  before.now = 10
  const running = before.begin()
  before.report('a', running.id, 'done', { counts: HERE })
  before.report('b', running.id, 'fetching')

  const after = new TestSeeds()
  after.now = 50
  restore(after.state, structuredClone([running, ended]), after.now)
  const [one, two] = [...after.state.seeds.values()]
  assert.ok(one && two)
  assert.deepEqual(
    [one.state, states(one), two.state, states(two)],
    ['done', ['host-a done'], 'running', ['host-a here', 'host-b waiting']]
  )
  after.join('b')
  assert.deepEqual(after.sent(), [`seed ${running.id} to b`])
  after.report('b', running.id, 'done')
  assert.equal(two.state, 'done')
})

test('seeds that ended make room; running ones are never given up for others', () => {
  const seeds = new TestSeeds()
  seeds.join('a')
  for (let i = 0; i < 1000; i++) seeds.begin(['host-a'], `r.test/app:${i}`)
  assert.throws(
    () => seeds.begin(['host-a'], 'r.test/app:more'),
    (error) => isLayerswarmError(error, 'SEEDS_FULL')
  )
  seeds.report('a', 's7', 'done')
  seeds.said = []
  seeds.begin(['host-a'], 'r.test/app:more')
  assert.ok(seeds.said.some((command) => command.type === 'forget' && command.id === 's7'))
  assert.equal(seeds.state.seeds.size, 1000)
})

test('a seed that finds no room takes none from those that ended', () => {
  const seeds = new TestSeeds()
  for (const id of ['a', 'b']) seeds.join(id)
  const ended = seeds.begin()
  for (const id of ['a', 'b']) seeds.report(id, ended.id, 'done')
  const [target] = ended.targets
  assert.ok(target)
  const targets = Array.from({ length: 199_999 }, () => ({ ...target }))
  restore(seeds.state, [{ ...ended, id: 'large', state: 'running', targets }], 0)
  assert.throws(
    () => seeds.begin(['all'], 'r.test/other:v1'),
    (error) => isLayerswarmError(error, 'SEEDS_FULL')
  )
  assert.ok(seeds.state.seeds.has(ended.id))
})

test('whatever happens in whatever order, a seed ends, and says of each host how', () => {
  const HOSTS = ['a', 'b', 'c']
  const host = fc.constantFrom(...HOSTS)
  const event = fc.oneof(
    fc.tuple(host, fc.boolean()).map(([id, takesSeeds]): SeedEvent => ({ type: 'joined', host: { id, name: id, zone: '', takesSeeds } })),
    fc.record({ type: fc.constant('left' as const), host }),
    fc
      .tuple(host, fc.constantFrom('queued' as const, 'fetching' as const, 'done' as const, 'failed' as const))
      .map(([id, state]): SeedEvent => ({ type: 'report', host: id, report: { id: 's0', state, size: 100, counts: FROM_PEERS } })),
    fc.constant<SeedEvent>({ type: 'tick' }),
    fc.constant<SeedEvent>({ type: 'cancel', id: 's0' })
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(8000), event), { maxLength: 60 }), (events) => {
      const seeds = new TestSeeds()
      const seed = seeds.begin(HOSTS)
      for (const [ms, one] of events) {
        seeds.now += ms
        seeds.step(one)
        assert.equal(seed.state === 'running', seed.open.size > 0)
        assert.deepEqual(new Set(seed.targets.filter((target) => isOpen(target))), seed.open)
      }
      // Every agent is back, and says how it ended.
      for (const id of HOSTS) {
        seeds.step({ type: 'joined', host: { id, name: id, zone: '', takesSeeds: true } })
        seeds.report(id, 's0', 'done')
      }
      assert.notEqual(seed.state, 'running')
      assert.ok(seed.targets.every((target) => !isOpen(target)))
    })
  )
})

test('after a restart of the tracker a seed waits for the hosts that there were, and names those that do not come back', () => {
  const seeds = new TestSeeds()
  const host = (id: string, leftAt?: number) => ({ id, name: `host-${id}`, zone: '', takesSeeds: true, leftAt, expected: false })
  expectHosts(seeds.state, [host('a'), host('b'), host('long-gone', -RECENT_MS), host('gone', -5000)], 0)
  const seed = seeds.begin()
  assert.deepEqual(states(seed), ['host-a waiting', 'host-b waiting', 'host-gone waiting'])
  assert.deepEqual(seeds.sent(), [])
  seeds.wait(3000)
  seeds.join('a')
  assert.deepEqual(seeds.sent(), ['seed s0 to a'])
  seeds.report('a', 's0', 'done')
  seeds.wait(ABSENT_MS)
  assert.deepEqual([seed.state, states(seed)], ['failed', ['host-a done', 'host-b failed', 'host-gone failed']])
  assert.match(seed.targets[1]?.error?.message ?? '', /not seen since the tracker was started/)
  assert.match(seed.targets[2]?.error?.message ?? '', /gone for 2\d s/)
  seeds.wait(RECENT_MS)
  assert.deepEqual([...seeds.state.hosts.keys()], ['a'])
})
