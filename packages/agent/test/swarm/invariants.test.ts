import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import fc from 'fast-check'
import type { SwarmCommand, SwarmEvent } from '../../src/swarm/messages.ts'
import { requestLimit } from '../../src/swarm/policy.ts'
import { BLOB, digestNamed, lease, of, PIECE_BYTES, range, TestHost } from './test-host.ts'

const PIECES = 40
const BLOBS = [BLOB, digestNamed('second')] as const
const PEERS = ['a', 'b', 'c', 'd', 'e']

/** Everything derived is what its definition says. */
function checkState(host: TestHost): void {
  const { state } = host
  const open = [...state.blobs.values()].flatMap(({ requests }) => [...requests.values()].flat())
  assert.equal(state.requests, open.length)
  assert.equal(new Set(open.map(({ peer, blob, piece }) => `${peer} ${blob} ${piece}`)).size, open.length, 'nothing is asked twice of one')
  const useful = new Map([...state.neighbours.keys()].map((peer) => [peer, 0]))
  for (const blob of state.blobs.values()) {
    for (const piece of range(0, PIECES)) {
      const wanted = !blob.have.has(piece) && blob.vouched.has(piece) && !blob.requests.has(piece) && !blob.assigned.has(piece)
      assert.equal(blob.wanted.has(piece), wanted, `piece ${piece} is ${wanted ? '' : 'not '}wanted`)
      const holders = [...blob.holders].filter(([, pieces]) => pieces.has(piece)).map(([peer]) => peer)
      const zone = holders.filter((peer) => !host.neighbour(peer).foreign)
      const near = zone.filter((peer) => host.neighbour(peer).suspectSince === undefined)
      const importable = blob.orphans.has(piece) || (blob.imports.has(piece) && near.length === 0)
      assert.equal(blob.copies[piece], near.length)
      assert.equal(blob.rare.has(piece), near.length === 1 || near.length === 2)
      assert.equal(blob.importable.has(piece), importable)
      if (wanted) for (const peer of importable ? holders : zone) useful.set(peer, (useful.get(peer) ?? 0) + 1)
    }
    for (const peer of blob.holders.keys()) assert.ok(state.neighbours.has(peer), 'who is gone holds nothing')
    for (const { next, run } of blob.fetches) {
      const left = range(next, run.first + run.count - next)
      assert.ok(blob.noRange || left.length === 0 || left.some((piece) => blob.assigned.has(piece)), 'a transfer brings something')
    }
  }
  for (const neighbour of state.neighbours.values()) {
    assert.equal(neighbour.useful, useful.get(neighbour.id), `what ${neighbour.id} has of use`)
    assert.equal(neighbour.requests.size, open.filter(({ peer }) => peer === neighbour.id).length)
    assert.ok(!state.banned.has(neighbour.id))
  }
}

function checkCommands(host: TestHost, commands: readonly SwarmCommand[], before: { requests: number; hedges: number }): void {
  for (const { peer, blob, piece } of of(commands, 'request')) {
    const state = host.blob(blob)
    assert.ok(state.holders.get(peer)?.has(piece), `${peer} has piece ${piece}`)
    assert.ok(!host.neighbour(peer).foreign || state.importable.has(piece), `piece ${piece} may be imported`)
    assert.ok(state.vouched.has(piece) && !state.have.has(piece), `piece ${piece} can be verified and is missing`)
    assert.ok(host.state.neighbours.get(peer)?.suspectSince === undefined, `${peer} is not suspect`)
  }
  const blobs = [...host.state.blobs.values()]
  const readers = blobs.reduce((sum, { readers }) => sum + readers.size, 0)
  const hedges = blobs.reduce((sum, { hedges }) => sum + hedges, 0)
  const most = Math.max(before.requests, requestLimit(host.state)) + readers + Math.max(0, hedges - before.hedges)
  assert.ok(host.state.requests <= most, `${host.state.requests} requests, ${most} allowed`)
}

const piece = fc.nat(PIECES - 1)
const blob = fc.constantFrom(...BLOBS)
const peer = fc.constantFrom(...PEERS)
const pieces = fc.array(piece, { maxLength: 20 })
const event: fc.Arbitrary<SwarmEvent> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constant('up' as const), peer }) },
  fc.record({ type: fc.constant('down' as const), peer }),
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('available' as const), peer, blob, pieces, load: fc.nat(9), gone: fc.constant(false) })
  },
  fc.record({ type: fc.constant('available' as const), peer, blob, pieces: fc.constant([]), load: fc.nat(9), gone: fc.constant(true) }),
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('landed' as const),
      blob,
      piece,
      from: fc.constantFrom(...PEERS, 'registry'),
      bytes: fc.constant(PIECE_BYTES)
    })
  },
  fc.record({
    type: fc.constant('failed' as const),
    blob,
    piece,
    peer,
    reason: fc.constantFrom('gone' as const, 'unreachable' as const, 'lie' as const)
  }),
  fc.record({
    type: fc.constant('leases' as const),
    blob,
    grant: fc.array(fc.nat(4), { maxLength: 3 }).map((runs) => runs.map((run) => lease(run))),
    revoke: fc.array(fc.nat(4), { maxLength: 2 })
  }),
  fc.record({ type: fc.constant('vouched' as const), blob, run: fc.nat(4).map((run) => ({ first: run * 8, count: 8 })) }),
  fc.record({ type: fc.constant('map' as const), blob, proven: fc.boolean() }),
  fc.record({ type: fc.constant('mapFailed' as const), blob, vouched: pieces.map((some) => PieceSet.of(PIECES, some)) }),
  fc.record({ type: fc.constant('reader' as const), blob, piece, waiting: fc.boolean() }),
  fc.record({
    type: fc.constant('fetchFailed' as const),
    blob,
    fetch: fc.nat(6),
    reason: fc.constantFrom('refused' as const, 'busy' as const, 'failed' as const)
  }),
  fc.record({ type: fc.constant('fetchEnded' as const), blob, fetch: fc.nat(6) }),
  fc.record({ type: fc.constant('discarded' as const), blob, pieces }),
  fc.record({ type: fc.constant('tracker' as const), up: fc.boolean() }),
  fc.record({
    type: fc.constant('peers' as const),
    peers: fc.array(
      peer.map((id) => ({ id, name: id, addrs: [], zone: 'far' })),
      { maxLength: 2 }
    )
  }),
  fc.record({ type: fc.constant('peers' as const), peers: fc.array(peer.map((id) => ({ id, name: id, addrs: [] }))) }),
  fc.record({ type: fc.constant('place' as const), blob, gateway: fc.record({ number: fc.nat(3), of: fc.integer({ min: 1, max: 3 }) }) }),
  fc.record({ type: fc.constant('planned' as const), blob }),
  fc.record({ type: fc.constant('planFailed' as const), blob }),
  fc.record({ type: fc.constant('close' as const), blob: fc.constant(BLOBS[1]) }),
  { weight: 4, arbitrary: fc.record({ type: fc.constant('tick' as const) }) }
)

test('whatever happens, what is derived fits what is known, and only what may be asked is asked', () => {
  fc.assert(
    fc.property(fc.nat(), fc.array(fc.record({ event, after: fc.nat(800) }), { minLength: 20, maxLength: 120 }), (seed, events) => {
      const host = new TestHost({ seed })
      for (const digest of BLOBS) host.open(PIECES, { blob: digest, map: false })
      for (const { event, after } of events) {
        host.now += after
        const hedges = [...host.state.blobs.values()].reduce((sum, { hedges }) => sum + hedges, 0)
        const before = { requests: host.state.requests, hedges }
        checkCommands(host, host.step(event), before)
        checkState(host)
      }
    }),
    { numRuns: 150, seed: 20_240 }
  )
})

/** How a neighbour answers: with the piece, never, that it has nothing any more, or not at all after some pieces. */
const neighbour = fc.record({
  has: fc.array(piece, { maxLength: PIECES }),
  answers: fc.constantFrom('well', 'never', 'gone', 'dies'),
  delay: fc.integer({ min: 1, max: 400 })
})

const network = fc.record({
  seed: fc.nat(),
  neighbours: fc.array(neighbour, { maxLength: 5 }),
  tracker: fc.boolean(),
  map: fc.boolean(),
  leased: fc.array(fc.nat(4), { maxLength: 5 }),
  /** How the registry answers one request after another, then well. */
  registry: fc.array(fc.constantFrom('busy' as const, 'failed' as const), { maxLength: 4 }),
  registryDelay: fc.integer({ min: 1, max: 300 })
})

type NetworkSpec = typeof network extends fc.Arbitrary<infer T> ? T : never

/** A scheduler's surroundings: they answer its commands some time later. */
class Surroundings {
  readonly host: TestHost
  readonly #spec: NetworkSpec
  #due: { at: number; event: SwarmEvent }[] = []
  readonly #served = new Map<string, number>()
  readonly #stopped = new Set<number>()
  #failures = 0
  completed = false

  constructor(spec: NetworkSpec) {
    this.#spec = spec
    this.host = new TestHost({ seed: spec.seed, tracker: spec.tracker })
  }

  run(limit: number): void {
    const { neighbours, tracker, map, leased } = this.#spec
    this.#act(this.host.open(PIECES, { map, planned: tracker }))
    neighbours.forEach(({ has }, i) => {
      this.#act(this.host.up(`p${i}`))
      this.#act(this.host.has(`p${i}`, has))
    })
    this.#act(this.host.grant(leased))
    const end = this.host.now + limit
    for (let tickAt = this.host.now + 50; !this.completed && this.host.now < end; ) {
      this.#due.sort((a, b) => a.at - b.at)
      const next = this.#due[0]
      if (next !== undefined && next.at <= tickAt) {
        this.#due.shift()
        this.host.now = next.at
        this.#act(this.host.step(next.event))
      } else {
        this.host.now = tickAt
        tickAt += 50
        this.#act(this.host.tick())
      }
      checkState(this.host)
    }
  }

  #after(delay: number, event: SwarmEvent): void {
    this.#due.push({ at: this.host.now + delay, event })
  }

  #act(commands: readonly SwarmCommand[]): void {
    for (const command of commands) {
      if (command.type === 'complete') this.completed = true
      else if (command.type === 'giveUp') assert.fail('given up although the registry answers')
      else if (command.type === 'request') this.#ask(command.peer, command.piece)
      else if (command.type === 'fetch') this.#fetch(command)
      else if (command.type === 'cancel') {
        const { peer, piece } = command
        this.#due = this.#due.filter(({ event }) => !(event.type === 'landed' && event.from === peer && event.piece === piece))
      } else if (command.type === 'stopFetch') this.#stopped.add(command.fetch)
    }
    this.#due = this.#due.filter(({ event }) => !('fetch' in event && this.#stopped.has(event.fetch)))
  }

  #ask(peer: string, asked: number): void {
    const spec = this.#spec.neighbours[Number(peer.slice(1))]
    const served = this.#served.get(peer) ?? 0
    this.#served.set(peer, served + 1)
    if (spec === undefined || spec.answers === 'never') return
    if (spec.answers === 'gone') this.#after(spec.delay, { type: 'failed', blob: BLOB, piece: asked, peer, reason: 'gone' })
    else if (spec.answers === 'dies' && served >= 3) this.#after(spec.delay, { type: 'down', peer })
    else this.#after(spec.delay, { type: 'landed', blob: BLOB, piece: asked, from: peer, bytes: PIECE_BYTES })
  }

  #fetch({ fetch, run }: Extract<SwarmCommand, { type: 'fetch' }>): void {
    const delay = this.#spec.registryDelay
    const failure = this.#spec.registry[this.#failures++]
    if (failure !== undefined) {
      this.#after(delay, { type: 'fetchFailed', blob: BLOB, fetch, reason: failure })
      return
    }
    range(run.first, run.count).forEach((asked, i) => {
      this.#after(delay + 20 * i, { type: 'landed', blob: BLOB, piece: asked, from: 'registry', bytes: PIECE_BYTES })
    })
    this.#after(delay + 20 * run.count, { type: 'fetchEnded', blob: BLOB, fetch })
  }
}

test('a blob is completed whatever its neighbours do, as long as the registry answers in the end', () => {
  fc.assert(
    fc.property(network, (spec) => {
      const surroundings = new Surroundings(spec)
      surroundings.run(120_000)
      assert.ok(surroundings.completed, `${surroundings.host.blob().have.count} of ${PIECES} pieces`)
    }),
    { numRuns: 100, seed: 20_241 }
  )
})
