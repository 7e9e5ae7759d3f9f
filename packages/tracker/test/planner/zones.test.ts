import assert from 'node:assert/strict'
import { test } from 'node:test'
import { importerOf } from '@layerswarm/core/importer.ts'
import { MAX_IMPORT_LINKS, SILENT_MS } from '../../src/planner/limits.ts'
import { MAX_ZONES } from '../../src/state/facts.ts'
import { pageAt } from '../../src/state/fleet-page.ts'
import { viewFleet } from '../../src/state/fleet-view.ts'
import { blobOfRuns, piecesOf, TestFleet } from './test-fleet.ts'

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
  assert.deepEqual(peers.map(({ id }) => id).toSorted(), ['a0', 'a1', 'a2', 'a3', 'b0', 'b2', 'b3'])
})

test('a new gateway is named to those of the other zone, with its zone, and to those of its own', () => {
  const fleet = twoZones()
  const named = (to: string, id: string) =>
    fleet
      .of(to, 'peers')
      .flatMap(({ peers }) => peers)
      .find((peer) => peer.id === id)
  assert.equal(named('a1', 'b2')?.zone, 'b')
  assert.ok(named('b1', 'b2'))
  assert.equal(named('b1', 'b2')?.zone, undefined)
  assert.equal(named('a1', 'b4'), undefined, 'others than gateways are not')
})

test('a gateway that says nothing loses its place, and is told so should it come back', () => {
  const fleet = twoZones()
  fleet.clear()
  const alive = ['a0', 'a1', 'a2', 'a3', 'b0', 'b2', 'b3']
  fleet.run(SILENT_MS + 200, alive, blob.digest)
  const heirs = [4, 5, 6, 7, 8, 9].filter((i) => fleet.of(`b${i}`, 'peers').some(({ gateway }) => gateway?.number === 1))
  assert.equal(heirs.length, 1)
  assert.deepEqual(fleet.of('b1', 'peers').at(-1)?.gateway, { number: 4, of: 4 })
  for (const host of alive) assert.ok(fleet.of(host, 'peers').every(({ gateway }) => gateway?.number !== 4))
  fleet.clear()
  fleet.run(SILENT_MS, [...alive, `b${heirs[0]}`], blob.digest)
  assert.ok(
    fleet.of(`b${heirs[0]}`, 'peers').every(({ gateway }) => gateway?.number === 1),
    'the heir has time to say something'
  )
})

test('a gateway that lets the blob go gives its place to another', () => {
  const fleet = twoZones()
  fleet.hold('b1', blob)
  fleet.clear()
  fleet.run(100)
  assert.deepEqual(fleet.of('b4', 'peers'), [], 'one that holds it keeps its place')
  fleet.say('b1', { t: 'hold', full: false, add: [], drop: [blob.digest] })
  fleet.run(100)
  const heirs = [4, 5, 6, 7, 8, 9].filter((i) => fleet.of(`b${i}`, 'peers').some(({ gateway }) => gateway?.number === 1))
  assert.equal(heirs.length, 1)
})

test('gateways hear of each other in a hundred zones too, of as many as the protocol carries', () => {
  const fleet = new TestFleet()
  for (let zone = 0; zone < 100; zone++) for (let i = 0; i < 12; i++) fleet.ask(`z${zone}h${i}`, blob, { zone: `z${zone}` })
  for (let zone = 0; zone < 100; zone++) {
    const peers = fleet.of(`z${zone}h0`, 'plan')[0]?.peers ?? []
    assert.ok(peers.length <= 64)
    assert.ok(peers.filter((peer) => peer.zone !== undefined).length <= MAX_IMPORT_LINKS)
  }
  const late = fleet.of('z0h11', 'plan')[0]?.peers ?? []
  assert.equal(late.length, 7, 'hosts of other zones take no place from those of the own')
})

test('hosts of more zones than a fleet may have are as those without one; a zone that empties makes room', () => {
  const fleet = new TestFleet()
  for (let zone = 0; zone < MAX_ZONES; zone++) fleet.join(`h${zone}`, { zone: `z${zone}` })
  fleet.join('second', { zone: 'z0' })
  const sent = () => [...fleet.inbox.values()].reduce((sum, messages) => sum + messages.length, 0)
  for (const name of ['x', 'y']) fleet.ask(name, blob, { zone: `zone of ${name}` })
  fleet.ask('none', blob)
  assert.deepEqual(
    fleet.of('y', 'plan')[0]?.peers.map(({ id, zone }) => [id, zone]),
    [['x', undefined]]
  )
  const before = sent()
  for (let host = 0; host < 500; host++) fleet.ask(`more ${host}`, blob, { zone: `one for ${host}` })
  assert.ok(sent() - before < 500 * 10, `${sent() - before} messages for 500 hosts`)
  const view = viewFleet(fleet.state, 'tracker', fleet.now, pageAt(undefined))
  assert.equal(view.hosts.find(({ id }) => id === 'x')?.zone, 'zone of x')

  for (const host of ['h0', 'h1']) fleet.leave(host)
  for (const [host, zone] of [
    ['late', 'new'],
    ['later', 'newer'],
    ['back', 'z0']
  ] as const) {
    fleet.join(host, { zone })
  }
  assert.deepEqual(
    ['late', 'later', 'back'].map((host) => fleet.state.hosts.get(host)?.zone),
    ['new', '', 'z0']
  )
})

test('an idle host that finds an imported run nowhere is named the gateway that imports it', () => {
  const fleet = new TestFleet()
  for (let i = 0; i < 4; i++) fleet.ask(`a${i}`, blob, { zone: 'a' })
  for (let i = 0; i < 40; i++) fleet.ask(`b${i}`, blob, { zone: 'b' })
  const gateways = ['b0', 'b1', 'b2', 'b3']
  const links = (id: string) => [...(fleet.state.hosts.get(id)?.links ?? [])]
  const idle = Array.from({ length: 36 }, (_, i) => `b${i + 4}`).find((id) => !links(id).some((other) => gateways.includes(other.id)))
  assert.ok(idle)
  const runs = [...fleet.told('a0'), ...fleet.told('a1')].slice(0, 4)
  fleet.clear()
  fleet.say(idle, { t: 'orphans', blob: blob.digest, pieces: piecesOf(...runs) })
  const named = fleet.of(idle, 'peers').flatMap(({ peers }) => peers.map(({ id }) => id))
  assert.deepEqual(named.toSorted(), runs.map((run) => `b${importerOf(blob.digest, run, 4)}`).toSorted())
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
