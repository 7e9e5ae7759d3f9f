import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blobOfRuns, TestFleet } from './test-fleet.ts'

const blob = blobOfRuns(64)

function twoZones(): TestFleet {
  const fleet = new TestFleet()
  for (let i = 0; i < 10; i++) fleet.ask(`a${i}`, blob, { zone: 'a' })
  for (let i = 0; i < 10; i++) fleet.ask(`b${i}`, blob, { zone: 'b' })
  return fleet
}

test('peers are of the own zone; only the four gateways know those of the other', () => {
  const fleet = twoZones()
  const foreign = (host: string) =>
    fleet
      .of(host, 'plan')[0]
      ?.peers.filter(({ zone }) => zone === 'a')
      .map(({ id }) => id)
  for (let i = 0; i < 4; i++) assert.deepEqual(foreign(`b${i}`)?.toSorted(), ['a0', 'a1', 'a2', 'a3'])
  for (let i = 4; i < 10; i++) assert.deepEqual(foreign(`b${i}`), [])
})

test('gateways are numbered, and hear of it when the blob starts to cross zones or one joins', () => {
  const fleet = twoZones()
  assert.deepEqual(fleet.of('b3', 'plan')[0]?.blobs[0]?.gateway, { number: 3, of: 4 })
  assert.deepEqual(fleet.of('b0', 'peers').at(-1)?.gateway, { number: 0, of: 4 })
  assert.deepEqual(fleet.of('a2', 'peers').at(-1)?.gateway, { number: 2, of: 4 })
  assert.equal(fleet.of('b4', 'plan')[0]?.blobs[0]?.gateway, undefined)
})

test('only gateways become holders', () => {
  const fleet = new TestFleet()
  fleet.ask('a0', blob, { zone: 'a' })
  for (let i = 0; i < 6; i++) fleet.ask(`b${i}`, blob, { zone: 'b' })
  assert.ok(fleet.told('b3').length > 0)
  assert.deepEqual([...fleet.told('b4'), ...fleet.told('b5')], [])
})

test('another host takes the number of a gateway that is gone', () => {
  const fleet = twoZones()
  fleet.clear()
  fleet.leave('b1')
  const heirs = [4, 5, 6, 7, 8, 9].filter((i) => fleet.of(`b${i}`, 'peers').some(({ gateway }) => gateway?.number === 1))
  assert.equal(heirs.length, 1)
  const peers = fleet.of(`b${heirs[0]}`, 'peers')[0]?.peers ?? []
  assert.deepEqual(peers.map(({ id }) => id).toSorted(), ['a0', 'a1', 'a2', 'a3'])
})

test('a zone that has the blob already is imported from, without a lease', () => {
  const fleet = new TestFleet()
  for (let i = 0; i < 6; i++) {
    fleet.join(`a${i}`, { zone: 'a' })
    fleet.hold(`a${i}`, blob)
  }
  fleet.join('b0', { zone: 'b' })
  const plan = fleet.plan('b0', [blob])
  assert.deepEqual(plan.blobs[0]?.leases, [])
  assert.equal(plan.peers.length, 4)
  assert.ok(plan.peers.every(({ zone }) => zone === 'a'))
})
