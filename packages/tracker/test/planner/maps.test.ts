import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mapRoot } from '@layerswarm/core/claims.ts'
import { blobOfRuns, TestFleet } from './test-fleet.ts'

const blob = blobOfRuns(2)
const hashes = new Uint8Array(16 * 32).fill(7)
const lies = new Uint8Array(16 * 32).fill(9)

function done(fleet: TestFleet, host: string, map = hashes): void {
  fleet.say(host, { t: 'done', blob: blob.digest, size: blob.size, root: mapRoot(blob.digest, map) })
}

function give(fleet: TestFleet, host: string, map = hashes): void {
  fleet.say(host, { t: 'map', blob: blob.digest, size: blob.size, hashes: map })
}

function finished(...hosts: string[]): TestFleet {
  const fleet = new TestFleet()
  for (const host of hosts) fleet.ask(host, blob)
  for (const host of hosts) done(fleet, host)
  return fleet
}

test('the first host that proves the digest is asked for the map; alone it is its word, with a second it is proven', () => {
  const fleet = finished('a')
  assert.equal(fleet.of('a', 'wantMap').length, 1)
  give(fleet, 'a')
  fleet.join('c')
  assert.equal(fleet.plan('c', [blob]).blobs[0]?.map?.proven, false)
  fleet.join('b')
  done(fleet, 'b')
  assert.equal(fleet.plan('c', [blob]).blobs[0]?.map?.proven, true)
  assert.equal(fleet.of('c', 'map').at(-1)?.map.proven, true, 'those who fetch hear of the proof')
})

test('a map that does not fit what others say proves nothing, whoever came first', () => {
  const fleet = finished('a', 'b')
  fleet.join('liar')
  fleet.hold('liar', blob)
  give(fleet, 'liar', lies)
  give(fleet, 'a')
  fleet.join('c')
  const map = fleet.plan('c', [blob]).blobs[0]?.map
  assert.deepEqual([map?.proven, map?.hashes[0]], [true, 7])
})

test('after a restart of the tracker holders are asked for maps, and those who wait get them', () => {
  const fleet = new TestFleet()
  for (const host of ['a', 'b', 'c']) {
    fleet.join(host)
    fleet.hold(host, blob)
  }
  fleet.join('new')
  assert.equal(fleet.plan('new', [blob]).blobs[0]?.map, undefined)
  const asked = ['a', 'b', 'c'].filter((host) => fleet.of(host, 'wantMap').length === 1)
  assert.equal(asked.length, 2)
  for (const host of asked) give(fleet, host)
  assert.deepEqual(
    fleet.of('new', 'map').map(({ map }) => map.proven),
    [false, true]
  )
})

test('maps from hosts that do not hold the blob, or of another length, are ignored', () => {
  const fleet = finished('a')
  fleet.join('b')
  give(fleet, 'b')
  give(fleet, 'a', new Uint8Array(32))
  fleet.join('c')
  assert.equal(fleet.plan('c', [blob]).blobs[0]?.map, undefined)
})
