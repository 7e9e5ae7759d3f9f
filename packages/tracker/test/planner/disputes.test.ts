import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DISPUTE_EACH_MS, MAX_ACCUSED_PER_REPORTER, MAX_DISPUTES, MAX_REMEMBERED } from '../../src/state/trust.ts'
import { blob, claim, FALSE, fetch, fetched, map, other, prove } from './disputed.ts'
import { blobOfRuns, piecesOf, TestFleet } from './test-fleet.ts'

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
