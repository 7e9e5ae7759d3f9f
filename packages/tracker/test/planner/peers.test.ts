import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blobOfRuns, digestNamed, piecesOf, TestFleet } from './test-fleet.ts'

const blob = blobOfRuns(64)

test('a plan names seven hosts, other than the asker', () => {
  const fleet = new TestFleet()
  for (let i = 0; i < 30; i++) fleet.ask(`h${i}`, blob)
  fleet.join('last')
  const { peers } = fleet.plan('last', [blob])
  assert.equal(new Set(peers.map(({ id }) => id)).size, 7)
  assert.ok(peers.every(({ id }) => id !== 'last'))
})

test('hosts are drawn uniformly, and none is named beyond 20 connections', () => {
  const fleet = new TestFleet()
  for (let i = 0; i < 1000; i++) fleet.ask(`h${i}`, blob)
  const degrees = [...fleet.state.hosts.values()].map((host) => host.links.size)
  assert.ok(Math.max(...degrees) <= 20)
  const mean = degrees.reduce((sum, degree) => sum + degree, 0) / degrees.length
  assert.ok(mean > 13 && mean < 15, `mean degree ${mean}`)
  const newest = fleet.of('h999', 'plan')[0]?.peers.filter(({ id }) => Number(id.slice(1)) > 900).length ?? 0
  assert.ok(newest <= 4, 'not the latest ones')
})

test('asking again brings more, but fills nobody beyond three quarters of the cap', () => {
  const fleet = new TestFleet()
  for (let i = 0; i < 200; i++) fleet.ask(`h${i}`, blob)
  const before = new Map([...fleet.state.hosts.values()].map((host) => [host.id, host.links.size]))
  fleet.clear()
  fleet.say('h199', { t: 'peers', blob: blob.digest, live: 7 })
  const [answer] = fleet.of('h199', 'peers')
  assert.equal(answer?.peers.length, 5)
  assert.ok(answer?.peers.every(({ id }) => (before.get(id) ?? 99) < 15))
  fleet.say('h199', { t: 'peers', blob: blob.digest, live: 12 })
  assert.equal(fleet.of('h199', 'peers').length, 1)
})

test('where nobody else is left, those named before are named again', () => {
  const fleet = new TestFleet()
  fleet.ask('a', blob)
  fleet.ask('b', blob)
  fleet.say('b', { t: 'peers', blob: blob.digest, live: 0 })
  assert.deepEqual(
    fleet.of('b', 'peers')[0]?.peers.map(({ id }) => id),
    ['a']
  )
})

test('links stop to count once both ends have nothing to fetch', () => {
  const fleet = new TestFleet()
  fleet.ask('a', blob)
  fleet.ask('b', blob)
  fleet.hold('a', blob)
  assert.equal(fleet.state.hosts.get('a')?.links.size, 1)
  fleet.hold('b', blob)
  assert.equal(fleet.state.hosts.get('a')?.links.size, 0)
})

test('of an image every layer gets somebody who has it', () => {
  const fleet = new TestFleet()
  const base = blobOfRuns(400, 'base')
  const small = { digest: digestNamed('config'), size: 2000 }
  for (let i = 0; i < 100; i++) {
    fleet.join(`base${i}`)
    fleet.hold(`base${i}`, base)
  }
  fleet.join('only')
  fleet.hold('only', small)
  fleet.join('asker')
  const { peers } = fleet.plan('asker', [small, base])
  assert.ok(peers.some(({ id }) => id === 'only'))
  assert.ok(peers.length >= 7)
})

test('knowledge alone makes nobody a member and counts no connection', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  fleet.hold('a', blob)
  fleet.join('b')
  const plan = fleet.plan('b', [blob], { want: false })
  assert.deepEqual(
    plan.peers.map(({ id }) => id),
    ['a']
  )
  assert.equal(plan.blobs[0]?.complete, 1)
  assert.equal(fleet.state.hosts.get('a')?.links.size, 0)
  fleet.join('c')
  assert.deepEqual(
    fleet.plan('c', [blob]).peers.map(({ id }) => id),
    ['a']
  )
})

test('a scope makes content known, until its last holder drops it', () => {
  const fleet = new TestFleet()
  const manifest = { digest: digestNamed('manifest'), size: 700, mediaType: 'application/vnd.oci.image.manifest.v1+json' }
  fleet.join('a')
  fleet.hold('a', { ...manifest, scopes: ['docker.io/library/app'] })
  fleet.hold('a', { ...manifest, scopes: ['docker.io/library/app', 'docker.io/library/other'] })
  fleet.join('b')
  const ask = (scope: string) => fleet.plan('b', [{ digest: manifest.digest }], { want: false, scope }).blobs[0]
  assert.deepEqual([ask('docker.io/library/app')?.known, ask('docker.io/library/secret')?.known], [true, false])
  assert.equal(ask('docker.io/library/other')?.mediaType, manifest.mediaType)
  fleet.say('a', { t: 'hold', full: true, add: [], drop: [] })
  assert.equal(ask('docker.io/library/app')?.known, false)
})

test('the address a host is seen at comes first, loopback last', () => {
  const fleet = new TestFleet()
  fleet.join('a', { seenAt: '/ip4/192.0.2.1', port: 5052, addrs: ['/ip4/10.0.0.1/tcp/5052'] })
  fleet.join('b', { seenAt: '/ip4/127.0.0.1', port: 5052, addrs: ['/ip4/10.0.0.2/tcp/5052'] })
  fleet.hold('a', blob)
  fleet.hold('b', blob)
  fleet.join('c')
  const addrs = new Map(fleet.plan('c', [blob]).peers.map((peer) => [peer.id, peer.addrs]))
  assert.deepEqual(addrs.get('a'), ['/ip4/192.0.2.1/tcp/5052', '/ip4/10.0.0.1/tcp/5052'])
  assert.deepEqual(addrs.get('b'), ['/ip4/10.0.0.2/tcp/5052', '/ip4/127.0.0.1/tcp/5052'])
})

test('an orphan piece: its fetcher is named; a second later, or without one, the run is leased again', () => {
  const fleet = new TestFleet()
  const one = blobOfRuns(1, 'one')
  fleet.ask('a', one)
  fleet.report('a', one.digest, piecesOf(0), piecesOf(0))
  fleet.ask('b', one)
  fleet.clear()
  const orphans = () => fleet.say('b', { t: 'orphans', blob: one.digest, pieces: piecesOf(0) })
  orphans()
  assert.deepEqual(
    fleet.of('b', 'peers')[0]?.peers.map(({ id }) => id),
    ['a']
  )
  orphans()
  assert.equal(fleet.of('b', 'peers').length, 1, 'once a second')
  fleet.now += 1000
  orphans()
  assert.deepEqual(fleet.told('b'), [0])
  assert.equal(fleet.of('b', 'leases')[0]?.grant[0]?.instead, 'a')
  fleet.ask('c', one)
  fleet.report('b', one.digest, piecesOf(0), piecesOf(0))
  fleet.leave('a')
  fleet.leave('b')
  fleet.say('c', { t: 'orphans', blob: one.digest, pieces: piecesOf(0) })
  assert.deepEqual(fleet.told('c'), [], 'asked for a moment ago')
  fleet.now += 1000
  fleet.say('c', { t: 'orphans', blob: one.digest, pieces: piecesOf(0) })
  assert.deepEqual(fleet.told('c'), [0])
})

test('messages before hello and a second hello end the connection', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  fleet.join('a')
  assert.deepEqual(fleet.disconnected, [])
  fleet.say('a', { t: 'hello', name: 'a', version: '', port: 0, addrs: [] })
  assert.deepEqual(fleet.disconnected, ['a'])
})
