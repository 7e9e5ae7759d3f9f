import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import { MAX_RUNS_PER_HOLDER } from '../../src/planner/limits.ts'
import { blobOfRuns, piecesOf, TestFleet } from './test-fleet.ts'

const blob = blobOfRuns(64)

function rejoin(fleet: TestFleet, host: string, runs: readonly number[], pieces: readonly number[] = []): void {
  fleet.join(host)
  fleet.say(host, {
    t: 'partial',
    blob: blob.digest,
    size: blob.size,
    bits: PieceSet.of(64 * 8, pieces).encode(),
    leases: runs.map((run) => ({ blob: blob.digest, run, holder: host, serial: run, by: 'tracker', sig: new Uint8Array(1) }))
  })
}

test('a fresh tracker leases at once', () => {
  assert.deepEqual(new TestFleet().ask('a', blob), [0, 1])
})

test('a restarted one answers at once, and leases only after its holders had time to come back', () => {
  const fleet = new TestFleet({ restarted: true })
  assert.deepEqual(fleet.ask('new', blob), [])
  fleet.run(600)
  rejoin(fleet, 'old', [0, 1])
  fleet.run(900, ['old'], blob.digest)
  assert.deepEqual(fleet.told('new'), [], 'a second after the last that came back')
  fleet.run(200, ['old'], blob.digest)
  assert.deepEqual(fleet.told('new'), [2, 3])
})

test('leases in hand alone show that there was a restart', () => {
  const fleet = new TestFleet()
  rejoin(fleet, 'old', [0])
  assert.deepEqual(fleet.ask('new', blob), [])
  fleet.run(1200, ['old'], blob.digest)
  assert.deepEqual([fleet.told('old'), fleet.told('new')], [[1], [2, 3]])
})

test('the quiet time ends even if hosts keep coming', () => {
  const fleet = new TestFleet({ restarted: true })
  fleet.ask('new', blob)
  for (let i = 0; i < 7; i++) {
    rejoin(fleet, `old${i}`, [i])
    fleet.run(400)
  }
  assert.deepEqual(fleet.told('new'), [])
  fleet.run(300)
  assert.ok(fleet.told('new').length > 0)
})

test('a host keeps no more unfetched runs on its own word than it is ever leased', () => {
  const fleet = new TestFleet()
  const runs = [...Array(64).keys()]
  rejoin(fleet, 'greedy', runs)
  assert.deepEqual(fleet.of('greedy', 'leases')[0]?.revoke, runs.slice(MAX_RUNS_PER_HOLDER))
  fleet.leave('greedy')
  rejoin(fleet, 'holder', runs.slice(0, MAX_RUNS_PER_HOLDER + 10), piecesOf(...runs.slice(0, 10)))
  assert.deepEqual(fleet.of('holder', 'leases'), [], 'what it has fetched does not count')
})

test('of two hosts that claim one run the first keeps it', () => {
  const fleet = new TestFleet()
  rejoin(fleet, 'a', [0, 1])
  rejoin(fleet, 'b', [1, 2])
  assert.deepEqual(fleet.of('b', 'leases')[0]?.revoke, [1])
  fleet.now += 4000
  fleet.leave('b')
  fleet.run(100, ['a'], blob.digest)
  fleet.join('c')
  assert.ok(!fleet.plan('c', [blob]).blobs[0]?.leases.some(({ run }) => run < 2))
})

test('what hosts have is not leased again; an adopted run that is complete goes when its holder dies', () => {
  const fleet = new TestFleet()
  rejoin(fleet, 'a', [5], piecesOf(0, 1, 5))
  fleet.run(1200, ['a'], blob.digest)
  assert.deepEqual(
    [fleet.told('a'), fleet.ask('b', blob)],
    [
      [2, 3],
      [4, 6]
    ]
  )
  fleet.leave('a')
  fleet.now += 100
  fleet.report('b', blob.digest, piecesOf(4, 6))
  const again = fleet.of('b', 'leases').flatMap(({ grant }) => grant.filter(({ instead }) => instead === 'a'))
  assert.deepEqual(
    again.map(({ run }) => run),
    [2, 3, 5]
  )
})

test('a bitfield of the wrong length is ignored', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  fleet.say('a', { t: 'partial', blob: blob.digest, size: blob.size, bits: new Uint8Array(3), leases: [] })
  assert.equal(fleet.state.hosts.get('a')?.wants.size, 0)
})
