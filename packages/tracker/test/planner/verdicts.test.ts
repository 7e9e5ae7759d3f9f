import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DISTRUST_MS, LET_OFF_MS } from '../../src/state/trust.ts'
import { accuse, blob, claim, convicted, FALSE, fetch, fetched, map, other, prove, RUNS } from './disputed.ts'
import { blobOfRuns, type TestFleet } from './test-fleet.ts'

describe('a host that vouched for false bytes', () => {
  /** `liar` and `a` fetched the blob, `c` and `d` proved it with other pieces than those that the liar signed. */
  function proven(): TestFleet {
    const fleet = fetched(['liar', 'a', 'c', 'd'])
    fleet.say('c', { t: 'dispute', blob: blob.digest })
    for (const host of ['c', 'd']) prove(fleet, host)
    return fleet
  }

  test('is found by what it signed itself; its leases go to others, and nobody is told of it', () => {
    const fleet = proven()
    const next = blobOfRuns(RUNS, 'next')
    const leases = fleet.plan('liar', [next]).blobs[0]?.leases.map(({ run }) => run)
    assert.deepEqual(leases, [0, 1])
    fleet.plan('a', [next])
    fleet.hold('liar', other)
    accuse(fleet, 'c', claim('liar', 3, FALSE))
    assert.deepEqual(
      fleet.convicted.map(({ host, blob: of, forGood }) => [host, of, forGood]),
      [['liar', blob.digest, false]]
    )
    assert.deepEqual(fleet.of('liar', 'leases').at(-1)?.revoke, leases)
    fetch(fleet, 'a', next)
    fleet.run(500, ['liar', 'a'], next.digest)
    assert.ok(fleet.told('a').includes(0) && fleet.told('a').includes(1))
    assert.deepEqual(
      fleet.told('liar').filter((run) => leases?.includes(run)),
      []
    )

    fleet.hold('liar', other)
    fleet.join('new')
    const { blobs, peers } = fleet.plan('new', [next, other])
    assert.deepEqual(
      peers.map(({ id }) => id),
      ['a']
    )
    assert.deepEqual(
      blobs.map(({ complete }) => complete),
      [0, 0],
      'what it says it holds does not count'
    )
    fleet.plan('liar', [next])
    assert.ok(!fleet.plan('a', [next]).peers.some(({ id }) => id === 'liar'), 'not even when it asks for peers itself')
  })

  test('is believed again after an hour, and never after the second time, a new connection notwithstanding', () => {
    const fleet = proven()
    accuse(fleet, 'c', claim('liar', 3, FALSE))
    fleet.leave('liar')
    const next = blobOfRuns(RUNS, 'next')
    assert.deepEqual(fleet.ask('liar', next), [])
    fleet.now += DISTRUST_MS
    fleet.run(100)
    assert.deepEqual(
      fleet.plan('liar', [next]).blobs[0]?.leases.map(({ run }) => run),
      [0, 1]
    )
    accuse(fleet, 'd', claim('liar', 4, FALSE))
    assert.equal(fleet.convicted.at(-1)?.forGood, true)
    fleet.now += 100 * DISTRUST_MS
    fleet.run(100)
    fleet.leave('liar')
    assert.deepEqual(fleet.ask('liar', next), [])
  })

  test('is found also when the evidence comes before the proof', () => {
    const fleet = fetched(['liar', 'a', 'c', 'd'])
    prove(fleet, 'c')
    accuse(fleet, 'c', claim('liar', 0, FALSE))
    assert.deepEqual(convicted(fleet), [])
    prove(fleet, 'd')
    assert.deepEqual(convicted(fleet), ['liar'])
  })

  test('is found once, whoever else brings the same; the host that was right may dispute again', () => {
    const fleet = proven()
    accuse(fleet, 'c', claim('liar', 3, FALSE))
    accuse(fleet, 'd', claim('liar', 3, FALSE))
    assert.deepEqual(convicted(fleet), ['liar'])
    fetch(fleet, 'c', other)
    fleet.say('c', { t: 'dispute', blob: other.digest })
    assert.ok(fleet.state.trust.disputes.has(other.digest))
  })

  test('takes no blob for itself by saying that the registry knows no ranges', () => {
    const fleet = proven()
    accuse(fleet, 'c', claim('liar', 3, FALSE))
    const next = blobOfRuns(RUNS, 'next')
    const leases = fleet.plan('a', [next]).blobs[0]?.leases.map(({ run }) => run)
    assert.deepEqual(leases, [0, 1])
    fleet.plan('liar', [next])
    fleet.clear()
    fleet.say('liar', { t: 'report', blob: next.digest, got: [], spread: [], bytes: 0, whole: true })
    assert.deepEqual([fleet.of('a', 'leases'), fleet.told('liar')], [[], []])
  })

  test('brings no evidence and proves no map', () => {
    const fleet = proven()
    accuse(fleet, 'c', claim('liar', 3, FALSE))
    prove(fleet, 'liar', Buffer.alloc(map.byteLength, 9))
    accuse(fleet, 'liar', claim('a', 8, FALSE))
    assert.deepEqual(convicted(fleet), ['liar'])
  })
})

describe('an honest host is not convicted', () => {
  test('by what it signed truly, however often it is brought', () => {
    const fleet = fetched(['liar', 'a', 'c', 'd'])
    for (const host of ['liar', 'c', 'd']) prove(fleet, host)
    for (let piece = 0; piece < 16; piece++) accuse(fleet, 'liar', claim('a', piece))
    assert.deepEqual(convicted(fleet), [])
  })

  test('by a map that one host alone has proven, nor by a host that does not hold the blob', () => {
    const fleet = fetched(['liar', 'a', 'c'])
    accuse(fleet, 'liar', claim('a', 3))
    prove(fleet, 'liar', Buffer.alloc(map.byteLength, 9))
    accuse(fleet, 'liar', claim('a', 3))
    prove(fleet, 'c')
    assert.deepEqual(convicted(fleet), [])
  })
})

describe('several hosts that vouched for false bytes of one blob', () => {
  /** `a` and `b` fetched the blob, `c` and `d` proved it with other pieces, and `c` brings what both signed. */
  function accusedTogether(of = blob, fleet = fetched(['a', 'b', 'c', 'd'], of)): TestFleet {
    for (const host of ['c', 'd']) prove(fleet, host, map, of)
    fleet.say('c', { t: 'evidence', blob: of.digest, claims: [claim('a', 0, FALSE, of), claim('b', 1, FALSE, of)] })
    return fleet
  }

  /** The same four fetch another blob. */
  function next(fleet: TestFleet, of = other): TestFleet {
    for (const host of ['a', 'b', 'c', 'd']) fetch(fleet, host, of)
    return fleet
  }

  test('are let off, and the operator is told, whoever brings the same again', () => {
    const fleet = accusedTogether()
    accuse(fleet, 'd', claim('a', 0, FALSE))
    accuse(fleet, 'd', claim('a', 0, FALSE), claim('b', 1, FALSE))
    assert.deepEqual(convicted(fleet), [])
    assert.deepEqual(
      fleet.doubted.map(({ hosts, blob: of }) => [hosts, of]),
      [[['a', 'b'], blob.digest]]
    )
    assert.ok(fleet.plan('a', [blobOfRuns(RUNS, 'next')]).blobs[0]?.leases.length)
  })

  test('are convicted for another one on the same day, and let off again after it', () => {
    const fleet = accusedTogether(other, next(accusedTogether()))
    assert.deepEqual(convicted(fleet), ['a', 'b'])
    const patient = accusedTogether()
    patient.now += LET_OFF_MS
    assert.deepEqual(convicted(accusedTogether(other, next(patient))), [])
  })

  test('are not let off after a verdict, and one alone never is', () => {
    const fleet = fetched(['a', 'b', 'c', 'd'])
    for (const host of ['c', 'd']) prove(fleet, host)
    accuse(fleet, 'c', claim('a', 0, FALSE))
    assert.deepEqual(convicted(fleet), ['a'])
    fleet.now += DISTRUST_MS
    fleet.run(100)
    assert.deepEqual(convicted(accusedTogether(other, next(fleet))), ['a', 'a'])
    assert.equal(fleet.convicted.at(-1)?.forGood, true)
  })
})
