import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BLOB, digestNamed, of, range, TestHost } from './test-host.ts'

/** A host that knows the pace of its swarm: `ms` from request to piece. */
function paced(ms: number, pieces = 64, neighbours = ['a', 'b']): TestHost {
  const host = new TestHost()
  host.up(...neighbours, 'pacer')
  host.open(pieces)
  host.has('pacer', [0])
  host.now += ms
  host.landed(0, 'pacer')
  return host
}

/** Time until what was asked of `a` is cancelled; undefined when it is not within ten seconds. */
function patience(host: TestHost): number | undefined {
  const from = host.now
  while (host.now - from < 10_000) if (of(host.tick(10), 'cancel').some(({ peer }) => peer === 'a')) return host.now - from
  return undefined
}

describe('a neighbour that falls silent', () => {
  test('loses what was asked of it, and others are asked at once', () => {
    const host = paced(10)
    host.has('a', [5])
    host.has('b', [5])
    const [asked] = host.requests
    assert.ok(asked)
    const other = asked.peer === 'a' ? 'b' : 'a'
    const silent = host.tick(501)
    assert.deepEqual(of(silent, 'cancel'), [{ type: 'cancel', peer: asked.peer, blob: BLOB, piece: 5 }])
    assert.deepEqual(
      of(silent, 'request').map(({ peer, piece }) => [peer, piece]),
      [[other, 5]]
    )
  })

  test('is waited for half a second, or four times the usual, or four seconds where nothing is known', () => {
    const times = [10, 300, undefined].map((pace) => {
      const host = pace === undefined ? new TestHost() : paced(pace)
      if (pace === undefined) {
        host.up('a')
        host.open(64)
      }
      host.has('a', [9])
      return patience(host)
    })
    assert.deepEqual(times, [510, 1210, 4010])
  })

  test('counts from its last sign of life, and only while something is asked of it', () => {
    const host = paced(10)
    host.pass(2000)
    host.has('a', [7, 8])
    for (let i = 0; i < 5; i++) {
      host.pass(400)
      host.has('a', [])
    }
    assert.equal(host.neighbour('a').stalls, 0)
    assert.equal(host.state.requests, 2)
  })

  test('is suspect until it sends anything', () => {
    const host = paced(10)
    host.has('a', [5])
    host.tick(501)
    assert.deepEqual(host.requests, [])
    assert.deepEqual(
      of(host.has('a', []), 'request').map(({ piece }) => piece),
      [5]
    )
    assert.equal(host.neighbour('a').stalls, 0)
  })

  test('is tried again after two seconds, then after twice as long each time', () => {
    const host = paced(10)
    host.has('a', [5])
    const retries: number[] = []
    for (let stalledAt = 0, i = 0; i < 2000; i++) {
      // Something else arrives all the time, else the registry would be asked.
      host.blob().arrivedAt = host.now
      const commands = host.tick(10)
      if (of(commands, 'cancel').length > 0) stalledAt = host.now
      if (of(commands, 'request').length > 0) retries.push(host.now - stalledAt)
    }
    assert.deepEqual(retries.slice(0, 3), [2000, 4000, 8000])
  })
})

describe('hedging', () => {
  /** All that is missing is in flight: pieces `1 … count` at `a`, which `b` has as well. */
  function inFlight(count: number, pieces = count + 1): TestHost {
    const host = paced(100, pieces)
    host.has('a', range(1, count))
    assert.equal(host.state.requests, count)
    host.has('b', range(1, count))
    return host
  }

  /** The driver looks each 50 ms; `a` shows that it lives, so that nothing counts as a stall. */
  function waitFor(host: TestHost, ms: number) {
    return range(0, ms / 50).flatMap(() => {
      host.has('a', [])
      return [...host.tick(50)]
    })
  }

  test('repeats a late request at another holder, twice per blob, once nothing is left to ask for', () => {
    const host = inFlight(3)
    assert.deepEqual(of(waitFor(host, 250), 'request'), [])
    const asked = of(waitFor(host, 50), 'request')
    assert.deepEqual(
      asked.map(({ peer, piece }) => [peer, piece]),
      [
        ['b', 1],
        ['b', 2]
      ]
    )
    assert.deepEqual(of(waitFor(host, 400), 'request'), [], 'the budget is used up')
    const won = host.landed(1, 'b')
    assert.deepEqual(of(won, 'cancel'), [{ type: 'cancel', peer: 'a', blob: BLOB, piece: 1 }])
    assert.equal(host.state.requests, 3)
  })

  test('waits while anything else can be asked for', () => {
    const host = inFlight(4, 64)
    host.step({ type: 'down', peer: 'b' })
    host.has('a', range(1, 20))
    host.up('b')
    host.has('b', range(1, 4))
    assert.ok(host.blob().wanted.count > 0)
    assert.deepEqual(of(waitFor(host, 450), 'request'), [])
  })

  test('waits while anything of another blob can be asked for', () => {
    const host = inFlight(3)
    const other = digestNamed('other')
    host.open(64, { blob: other })
    host.has('a', range(0, 64), { blob: other })
    assert.ok(host.blob(other).wanted.count > 0)
    assert.deepEqual(
      of(waitFor(host, 300), 'request').filter(({ blob }) => blob === BLOB),
      []
    )
  })

  test('goes as far as one per cent of a large blob, and never to the one that is late', () => {
    const host = paced(100, 401)
    host.step({ type: 'mapFailed', blob: BLOB, vouched: host.blob().have.clone() })
    host.has('a', range(1, 400))
    host.step({ type: 'vouched', blob: BLOB, run: { first: 1, count: 10 } })
    assert.equal(host.state.requests, 8)
    host.state.neighbours.delete('pacer')
    host.step({ type: 'down', peer: 'b' })
    host.has('a', [])
    assert.equal(host.state.requests, 10)
    assert.deepEqual(of(waitFor(host, 450), 'request'), [], 'nobody else has them')
    host.up('c')
    host.has('c', range(1, 10))
    assert.equal(of(waitFor(host, 450), 'request').length, 4)
  })
})
