import assert from 'node:assert/strict'
import { test } from 'node:test'
import { layoutOf, MAX_BLOB_SIZE } from '@layerswarm/core/piece-layout.ts'
import { MAX_PLANNED_PIECES, MAX_WANTS_PER_HOST } from '../../src/planner/limits.ts'
import { blobOfRuns, digestNamed, piecesOf, RUN_BYTES, TestFleet } from './test-fleet.ts'

const huge = { digest: digestNamed('huge'), size: MAX_BLOB_SIZE }
const blob = blobOfRuns(4)

test('a blob that is said to be huge is not planned for; the others of its image are', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  const { blobs } = fleet.plan('a', [huge, blob])
  assert.deepEqual(
    blobs.map(({ leases }) => leases.map(({ run }) => run)),
    [[], [0, 1]]
  )
  const { pieces } = layoutOf(huge.size)
  fleet.say('a', { t: 'partial', blob: huge.digest, size: huge.size, bits: new Uint8Array(pieces / 8), leases: [] })
  fleet.join('holder')
  fleet.hold('holder', huge)
  fleet.plan('a', [{ digest: huge.digest }])
  fleet.say('a', { t: 'dispute', blob: huge.digest })
  assert.deepEqual([fleet.state.campaigns.size, fleet.state.trust.disputes.size], [1, 0])
  assert.deepEqual(fleet.of('holder', 'wantMap'), [], 'its map fits no message')
})

test('a blob of the largest map is planned for', () => {
  const fleet = new TestFleet()
  const largest = { digest: digestNamed('largest'), size: MAX_PLANNED_PIECES * 4 * 1024 ** 2 }
  assert.deepEqual(fleet.ask('a', largest), [0, 1])
})

test('a host fetches so many blobs and no more, until it ends some', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  const blobs = Array.from({ length: MAX_WANTS_PER_HOST + 2 }, (_, i) => blobOfRuns(1, `blob ${i}`))
  const [first, last, other] = [blobs[0], blobs.at(-1), blobs.at(-2)]
  assert.ok(first && last && other)
  for (let at = 0; at < blobs.length; at += 1024) fleet.plan('a', blobs.slice(at, at + 1024))
  fleet.say('a', { t: 'partial', blob: last.digest, size: last.size, bits: new Uint8Array(1), leases: [] })
  assert.deepEqual([fleet.state.hosts.get('a')?.wants.size, fleet.state.blobs.size], [MAX_WANTS_PER_HOST, MAX_WANTS_PER_HOST])
  fleet.plan('a', [first])
  assert.ok(fleet.state.blobs.has(first.digest))
  fleet.say('a', { t: 'cancel', blob: first.digest })
  fleet.plan('a', [last, other])
  assert.deepEqual([fleet.state.blobs.has(last.digest), fleet.state.blobs.has(other.digest)], [true, false])
})

test('a partial blob whose bits are of another size leaves nothing behind', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  fleet.say('a', { t: 'partial', blob: blob.digest, size: blob.size, bits: new Uint8Array(1), leases: [] })
  assert.equal(fleet.state.blobs.size, 0)
})

test('a host that does not fetch the blob cannot take it from the others by saying that the registry knows no ranges', () => {
  const fleet = new TestFleet()
  assert.deepEqual(fleet.ask('a', blob), [0, 1])
  fleet.join('bystander')
  fleet.say('bystander', { t: 'report', blob: blob.digest, got: [], spread: [], bytes: 0, whole: true })
  assert.deepEqual([fleet.of('a', 'leases'), fleet.told('bystander')], [[], []])
  fleet.report('a', blob.digest, piecesOf(0), [], RUN_BYTES)
  assert.ok(fleet.told('a').length > 2)
})
