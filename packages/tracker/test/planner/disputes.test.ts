import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Claim, mapRoot } from '@layerswarm/core/claims.ts'
import { DISPUTE_EACH_MS, DISTRUST_MS, LET_OFF_MS, MAX_ACCUSED_PER_REPORTER, MAX_DISPUTES, MAX_REMEMBERED } from '../../src/state/trust.ts'
import { blobOfRuns, piecesOf, TestFleet } from './test-fleet.ts'

const RUNS = 4
const blob = blobOfRuns(RUNS)
const other = blobOfRuns(RUNS, 'other')
const pieceHash = (piece: number) => Buffer.alloc(32, piece + 1)
const map = Buffer.concat(piecesOf(0, 1, 2, 3).map(pieceHash))
const FALSE = Buffer.alloc(32, 0xee)

/** What `author` signed for a piece; signatures are not the planner's concern. */
function claim(author: string, piece: number, hash: Uint8Array = pieceHash(piece), of = blob): Claim {
  return { blob: of.digest, first: piece, hashes: hash, author, sig: new Uint8Array(64) }
}

/** Hosts that fetch the blob; the first ones get its runs, fetch and spread them. */
function fetched(hosts: readonly string[], of = blob): TestFleet {
  const fleet = new TestFleet()
  for (const host of hosts) fleet.ask(host, of)
  for (let run = 0; run < RUNS; run++) for (const host of hosts) fetch(fleet, host, of)
  return fleet
}

/** The host fetches and spreads what it has leases for. */
function fetch(fleet: TestFleet, host: string, of = blob): void {
  if (!fleet.state.hosts.has(host)) fleet.join(host)
  const runs = fleet.plan(host, [of]).blobs[0]?.leases.map(({ run }) => run) ?? []
  fleet.report(host, of.digest, piecesOf(...runs), piecesOf(...runs))
}

/** Proves the digest with the pieces of a map, and hands that in where it is wanted. */
function prove(fleet: TestFleet, host: string, hashes: Uint8Array = map, of = blob): void {
  fleet.say(host, { t: 'done', blob: of.digest, size: of.size, root: mapRoot(of.digest, hashes) })
  if (fleet.of(host, 'wantMap').length > 0) fleet.say(host, { t: 'map', blob: of.digest, size: of.size, hashes })
}

function accuse(fleet: TestFleet, reporter: string, ...claims: Claim[]): void {
  fleet.say(reporter, { t: 'evidence', blob: blob.digest, claims })
}

const convicted = (fleet: TestFleet) => fleet.convicted.map(({ host }) => host)

describe('a blob that does not fit its digest', () => {
  test('is leased again, each run to another host than the one that fetched it', () => {
    const fleet = fetched(['a', 'b', 'c'])
    const before = new Map(['a', 'b'].map((host) => [host, fleet.told(host)]))
    assert.ok(before.get('a')?.length && before.get('b')?.length)
    fleet.clear()
    fleet.say('c', { t: 'dispute', blob: blob.digest })
    const again = new Map<number, string>()
    for (let round = 0; round < 8; round++) {
      for (const host of ['a', 'b', 'c']) {
        for (const run of fleet.told(host)) {
          assert.ok(!before.get(host)?.includes(run), `${host} fetched run ${run} before`)
          if (!again.has(run)) fleet.report(host, blob.digest, piecesOf(run), piecesOf(run))
          again.set(run, host)
        }
      }
      fleet.run(100, ['a', 'b', 'c'], blob.digest)
    }
    assert.deepEqual([...again.keys()].sort(), [0, 1, 2, 3])
  })

  test('also when all who fetch it start afresh, and when somebody says that it holds it', () => {
    const fleet = fetched(['a', 'b'])
    const before = new Map(['a', 'b'].map((host) => [host, fleet.told(host)]))
    fleet.say('b', { t: 'dispute', blob: blob.digest })
    for (const host of ['a', 'b']) fleet.say(host, { t: 'cancel', blob: blob.digest })
    fleet.join('liar')
    fleet.hold('liar', blob)
    fleet.clear()
    for (const host of ['a', 'b']) fleet.plan(host, [blob])
    fleet.run(200, ['a', 'b'], blob.digest)
    for (const host of ['a', 'b']) {
      const again = fleet.told(host)
      assert.ok(again.length > 0 && !again.some((run) => before.get(host)?.includes(run)))
    }
  })

  test('comes with no map on one host’s word, and is fetched no more once two have proven it', () => {
    const fleet = fetched(['a', 'b', 'c', 'd'])
    fleet.say('c', { t: 'dispute', blob: blob.digest })
    prove(fleet, 'a')
    assert.equal(fleet.plan('c', [blob]).blobs[0]?.map, undefined)
    prove(fleet, 'b')
    assert.equal(fleet.of('c', 'map').at(-1)?.map.proven ?? fleet.plan('c', [blob]).blobs[0]?.map?.proven, true)
    fleet.clear()
    fleet.run(300, ['c', 'd'], blob.digest)
    assert.deepEqual([fleet.told('c'), fleet.told('d')], [[], []])
    assert.equal(fleet.state.trust.disputes.size, 0)
  })

  test('is fetched again once an hour on the word of one host that never is right', () => {
    const fleet = fetched(['a', 'b', 'cries'])
    fetch(fleet, 'a', other)
    fetch(fleet, 'cries', other)
    fleet.say('cries', { t: 'dispute', blob: blob.digest })
    assert.equal(fleet.state.trust.disputes.size, 1)
    fleet.say('cries', { t: 'dispute', blob: other.digest })
    assert.equal(fleet.state.trust.disputes.size, 1)
    fleet.now += DISPUTE_EACH_MS
    fleet.say('cries', { t: 'dispute', blob: other.digest })
    assert.equal(fleet.state.trust.disputes.size, 2)
  })

  test('is not disputed by a host that does not fetch it, nor once its map is proven', () => {
    const fleet = fetched(['a', 'b', 'c'])
    fleet.join('bystander')
    fleet.say('bystander', { t: 'dispute', blob: blob.digest })
    for (const host of ['a', 'b']) prove(fleet, host)
    fleet.say('c', { t: 'dispute', blob: blob.digest })
    assert.equal(fleet.state.trust.disputes.size, 0)
  })
})

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

test('what is remembered of disputes is bounded', () => {
  const fleet = new TestFleet()
  const blobs = Array.from({ length: MAX_DISPUTES + 5 }, (_, i) => blobOfRuns(1, `blob ${i}`))
  for (const [i, one] of blobs.entries()) {
    fleet.ask(`h${i}`, one)
    fleet.say(`h${i}`, { t: 'dispute', blob: one.digest })
  }
  const { disputes, spent } = fleet.state.trust
  assert.equal(disputes.size, MAX_DISPUTES)
  assert.ok(!disputes.has(blobs[0]?.digest ?? blob.digest))
  for (let i = 0; i < MAX_REMEMBERED + 5; i++) {
    fleet.ask(`x${i}`, blob)
    disputes.delete(blob.digest)
    fleet.say(`x${i}`, { t: 'dispute', blob: blob.digest })
    fleet.leave(`x${i}`)
  }
  assert.equal(spent.size, MAX_REMEMBERED)

  fleet.ask('reporter', other)
  prove(fleet, 'reporter', map, other)
  const accused = Array.from({ length: 3 * MAX_ACCUSED_PER_REPORTER }, (_, i) => claim(`accused ${i}`, 0, FALSE, other))
  for (const one of accused) fleet.say('reporter', { t: 'evidence', blob: other.digest, claims: [one] })
  assert.equal(disputes.get(other.digest)?.evidence.get('reporter')?.size, MAX_ACCUSED_PER_REPORTER)
})
