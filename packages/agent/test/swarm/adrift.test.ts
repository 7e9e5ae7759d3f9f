import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ownerRank } from '../../src/swarm/owner-order.ts'
import { BLOB, digestNamed, notes, of, range, TestHost } from './test-host.ts'

/** A host whose tracker does not answer. */
function alone(pieces: number, options: { map?: boolean } = {}): TestHost {
  const host = new TestHost({ tracker: false })
  host.open(pieces, { planned: false, ...options })
  return host
}

describe('owner order', () => {
  test('is the same on every host, and spreads runs evenly', () => {
    const hosts = range(0, 10).map((i) => `host${i}`)
    const owned = new Map(hosts.map((host) => [host, 0]))
    for (let run = 0; run < 1000; run++) {
      const ranks = hosts.map((host) =>
        ownerRank(
          BLOB,
          run,
          host,
          hosts.filter((other) => other !== host)
        )
      )
      assert.deepEqual(
        [...ranks].sort((a, b) => a - b),
        range(0, 10),
        'every rank once'
      )
      const owner = hosts[ranks.indexOf(0)] as string
      owned.set(owner, (owned.get(owner) ?? 0) + 1)
    }
    for (const [host, runs] of owned) assert.ok(runs > 65 && runs < 135, `${host} owns ${runs} of 1000`)
    const orders = new Set(
      ['x', 'y', 'z'].map((blob) =>
        range(0, 8)
          .map((run) => ownerRank(digestNamed(blob), run, 'a', ['b']))
          .join('')
      )
    )
    assert.ok(orders.size > 1, 'another blob, another order')
  })

  test('without a neighbour that takes part, the registry is asked at once for everything', () => {
    const host = alone(24)
    host.up('idle')
    assert.deepEqual(
      of(host.tick(), 'fetch').map(({ run }) => run),
      [{ first: 0, count: 24 }]
    )
  })

  test('with neighbours each host fetches the runs it owns, and those of others after a second each', () => {
    const host = alone(8 * 12)
    host.up('a', 'b')
    host.has('a', [])
    host.has('a', [95])
    host.has('b', [95])
    host.landed(95, 'a')
    const rank = (run: number) => ownerRank(BLOB, run, 'me', ['a', 'b'])
    const ranks = range(0, 12).map(rank)
    assert.deepEqual([...new Set(ranks)].sort(), [0, 1, 2], 'every case is there')
    const takenAt = (ms: number) => {
      host.pass(host.blob().openedAt + ms - host.now)
      host.tick()
      // The registry keeps delivering, so this is no last resort.
      host.blob().arrivedAt = host.now
      return range(0, 12).filter((run) => host.blob().assigned.has(run * 8))
    }
    for (const [ms, most] of [
      [0, 0],
      [950, 0],
      [1000, 1],
      [1950, 1],
      [2000, 2]
    ] as const) {
      assert.deepEqual(
        takenAt(ms),
        range(0, 12).filter((run) => rank(run) <= most),
        `after ${ms} ms`
      )
    }
  })

  test('what a neighbour has is left to it, if it can be verified', () => {
    for (const map of [true, false]) {
      const host = alone(8, { map })
      host.up('a')
      host.has('a', range(0, 4))
      host.pass(1100)
      assert.deepEqual([...host.blob().assigned], map ? range(4, 4) : range(0, 8))
    }
  })

  test('counts from the failure of the plan where a tracker is connected and says nothing', () => {
    const host = new TestHost()
    host.open(8, { planned: false })
    assert.deepEqual(of(host.pass(3000), 'fetch'), [])
    host.step({ type: 'planFailed', blob: BLOB })
    assert.equal(of(host.tick(), 'fetch').length, 1)
  })

  test('waits a second for a tracker that was lost in the middle, and not at all for one that is back', () => {
    const host = new TestHost()
    host.open(8)
    host.step({ type: 'tracker', up: false })
    assert.deepEqual(of(host.pass(950), 'fetch'), [])
    assert.equal(of(host.tick(50), 'fetch').length, 1)

    const lucky = new TestHost()
    lucky.open(8)
    lucky.step({ type: 'tracker', up: false })
    lucky.pass(900)
    lucky.step({ type: 'tracker', up: true })
    assert.deepEqual(of(lucky.pass(3000), 'fetch'), [])
  })

  test('a plan that comes late after all ends it', () => {
    const host = new TestHost()
    host.open(8, { planned: false })
    host.step({ type: 'planFailed', blob: BLOB })
    host.step({ type: 'planned', blob: BLOB })
    assert.deepEqual(of(host.pass(1000), 'fetch'), [])
  })
})

describe('the last resort', () => {
  test('when nothing has arrived for five seconds the registry is asked without a lease', () => {
    const host = new TestHost()
    host.open(16)
    assert.deepEqual(of(host.pass(4950), 'fetch'), [])
    assert.deepEqual(
      of(host.tick(50), 'fetch').map(({ run }) => run),
      [{ first: 0, count: 16 }]
    )
  })

  test('a blob of one piece is waited for only as long as clients wait for a manifest', () => {
    const host = new TestHost()
    host.open(1)
    assert.deepEqual(of(host.pass(2450), 'fetch'), [])
    assert.deepEqual(
      of(host.tick(50), 'fetch').map(({ run }) => run),
      [{ first: 0, count: 1 }]
    )
  })

  test('a small layer waits behind the others of its image, and a manifest not behind other images', () => {
    const host = new TestHost()
    const [manifest, layer] = [digestNamed('manifest'), digestNamed('small layer')]
    host.up('a')
    host.open(64, { pull: 'image' })
    host.open(1, { blob: layer, pull: 'image' })
    host.open(1, { blob: manifest, pull: 'another' })
    const fetched: string[] = []
    for (const piece of range(0, 20)) {
      host.has('a', [piece])
      fetched.push(...of(host.pass(250), 'fetch').map(({ blob }) => blob))
      host.landed(piece, 'a')
    }
    assert.deepEqual(fetched, [manifest])
  })

  test('anything that arrives puts it off', () => {
    const host = new TestHost()
    host.up('a')
    host.open(16)
    host.pass(4000)
    host.has('a', [3])
    host.landed(3, 'a')
    assert.deepEqual(of(host.pass(4950), 'fetch'), [])
    assert.equal(of(host.pass(100), 'fetch').length, 2, 'before and behind what is here')
  })

  test('a neighbour that hangs with all the pieces does not stand in its way', () => {
    const host = new TestHost()
    host.up('hung')
    host.open(16)
    host.has('hung', range(0, 16))
    const fetched = of(host.pass(6000), 'fetch').reduce((sum, { run }) => sum + run.count, 0)
    assert.equal(fetched, 16)
  })

  test('a registry that refused this host is not asked again', () => {
    const host = new TestHost()
    host.open(8)
    host.grant([0])
    host.step({ type: 'fetchFailed', blob: BLOB, fetch: 0, reason: 'refused' })
    assert.deepEqual(of(host.pass(10_000), 'fetch'), [])
  })
})

describe('pieces that no neighbour has', () => {
  test('are told to the tracker after half a second with nothing to do, then once a second', () => {
    const host = new TestHost()
    host.up('a')
    host.open(8, { have: [0, 5] })
    host.has('a', [1])
    host.landed(1, 'a')
    const told: [number, readonly number[]][] = []
    const from = host.now
    while (host.now - from < 2000) for (const { pieces } of notes(host.tick(50), 'orphans')) told.push([host.now - from, pieces])
    assert.deepEqual(told, [
      [550, [2, 3, 4, 6, 7]],
      [1550, [2, 3, 4, 6, 7]]
    ])
  })

  test('are no orphans while a request, a lease or a wanted piece is left', () => {
    const asked = new TestHost()
    asked.up('a')
    asked.open(8)
    asked.has('a', [1])
    assert.deepEqual(notes(asked.pass(1000), 'orphans'), [])
    const leased = new TestHost()
    leased.open(16)
    leased.grant([0])
    assert.deepEqual(notes(leased.pass(1000), 'orphans'), [])
    assert.deepEqual(notes(alone(8).pass(1000), 'orphans'), [], 'nor without a tracker')
  })

  test('are no orphans while their blob only waits for its turn, unless a client reads it', () => {
    const host = new TestHost()
    const [waiting, read] = [digestNamed('waiting'), digestNamed('read')]
    host.up('a')
    host.open(64)
    host.open(1, { blob: waiting })
    host.open(1, { blob: read })
    host.step({ type: 'reader', blob: read, piece: 0, waiting: true })
    host.has('a', [1])
    assert.deepEqual(
      notes(host.pass(1000), 'orphans').map(({ blob }) => blob),
      [read]
    )
    host.landed(1, 'a')
    host.grant([1])
    assert.ok(
      notes(host.pass(500), 'orphans').every(({ blob }) => blob === read),
      'the registry brings something'
    )
    host.revoke(1)
    assert.ok(notes(host.pass(1000), 'orphans').some(({ blob }) => blob === waiting))
  })

  test('may be held by a neighbour that hangs', () => {
    const host = new TestHost()
    host.up('hung')
    host.open(4)
    host.has('hung', [2])
    assert.deepEqual(notes(host.pass(4000), 'orphans'), [])
    assert.deepEqual(notes(host.pass(900), 'orphans')[0]?.pieces, [0, 1, 2, 3])
  })

  test('are those that a neighbour has while nothing vouches for them', () => {
    const host = new TestHost()
    host.up('a')
    host.open(8, { map: false })
    host.has('a', range(0, 8))
    assert.deepEqual(notes(host.pass(600), 'orphans')[0]?.pieces, range(0, 8))
  })

  test('are named 512 at a time', () => {
    const host = new TestHost()
    host.open(2000)
    assert.equal(notes(host.pass(600), 'orphans')[0]?.pieces.length, 512)
  })
})

describe('more neighbours', () => {
  test('are asked for while there are fewer than twelve, ever more rarely', () => {
    const host = new TestHost()
    host.open(64)
    const asked: number[] = []
    const from = host.now
    for (let i = 0; i < 400; i++) {
      if (notes(host.tick(50), 'peers').length > 0) asked.push(host.now - from)
    }
    assert.equal(asked[0], 300)
    const gaps = asked.slice(1).map((at, i) => at - (asked[i] as number))
    assert.ok(
      gaps.every((gap, i) => i === 0 || gap >= (gaps[i - 1] as number)),
      `${gaps}`
    )
    assert.equal(gaps.at(-1), 5000)
    host.up(...range(0, 12).map((i) => `p${i}`))
    assert.deepEqual(notes(host.pass(6000), 'peers'), [])
  })
})

test('more neighbours are asked for once for all blobs of an image', () => {
  const host = new TestHost()
  const layers = range(0, 8).map((i) => digestNamed(`layer ${i}`))
  for (const blob of layers) host.open(1, { blob, pull: 'image' })
  host.open(1, { pull: 'another' })
  const asked = notes(host.pass(650), 'peers').map(({ blob }) => blob)
  assert.deepEqual(asked, [layers[0], BLOB, layers[1], BLOB])
})

describe('giving up', () => {
  function until(host: TestHost): number | undefined {
    const from = host.now
    while (host.now - from < 40_000) {
      const commands = host.tick(50)
      for (const { fetch } of of(commands, 'fetch')) host.step({ type: 'fetchFailed', blob: BLOB, fetch, reason: 'failed' })
      if (of(commands, 'giveUp').length > 0) return host.now - from
    }
    return undefined
  }

  test('takes fifteen seconds without a byte while the registry fails', () => {
    assert.equal(until(alone(8)), 15_000)
  })

  test('takes two and a half when its answer is final and no neighbour has anything, else fifteen', () => {
    for (const [pieces, ms] of [
      [[], 2500],
      [[9], 15_000]
    ] as const) {
      const host = new TestHost()
      host.up('a')
      host.open(16, { map: false })
      host.grant([0])
      host.has('a', pieces)
      host.step({ type: 'fetchFailed', blob: BLOB, fetch: 0, reason: 'refused' })
      assert.equal(until(host), ms)
    }
  })

  test('never happens while pieces are on their way, nor while the registry has not been asked', () => {
    const host = new TestHost()
    host.up('a')
    host.open(8)
    host.step({ type: 'fetchFailed', blob: BLOB, fetch: -1, reason: 'refused' })
    for (let i = 0; i < 60; i++) {
      host.has('a', [3])
      assert.deepEqual(of(host.pass(400), 'giveUp'), [])
    }
    const idle = new TestHost()
    idle.open(8)
    assert.deepEqual(of(idle.pass(30_000), 'giveUp'), [])
  })
})
