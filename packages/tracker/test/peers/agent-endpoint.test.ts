import assert from 'node:assert/strict'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { mapRoot, signClaim, signLease, verifyLease } from '@layerswarm/core/claims.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { MAX_DIRECTORY_MESSAGE } from '@layerswarm/core/wire/directory-protocol.ts'
import type { FleetView } from '../../src/state/fleet-view.ts'
import { blobOfRuns, SCOPE } from '../planner/test-fleet.ts'
import { type BareAgent, TestTracker } from '../test-tracker.ts'

const blob = blobOfRuns(64)

async function plan(agent: BareAgent, id = 1) {
  agent.say({ t: 'plan', id, scope: SCOPE, blobs: [blob], origin: true, want: true })
  return await agent.next('plan')
}

test('hello is answered with the address that the agent is seen at; leases carry the signature of the tracker', async () => {
  await using tracker = await TestTracker.start()
  const agent = await tracker.agent()
  agent.hello()
  assert.equal((await agent.next('welcome')).observed, '/ip4/127.0.0.1')
  const { id, blobs } = await plan(agent, 7)
  assert.equal(id, 7)
  const leases = blobs[0]?.leases ?? []
  assert.equal(leases.length, 2)
  for (const lease of leases) {
    assert.deepEqual([lease.by, lease.holder], [tracker.running.id, agent.id])
    assert.equal(await verifyLease(lease), true)
  }
})

test('peers are named with the address they are seen at, where others can use it, and what they announce', async () => {
  await using tracker = await TestTracker.start()
  const [first, second] = [await tracker.agent(), await tracker.agent()]
  for (const agent of [first, second]) agent.hello()
  await plan(first)
  const { peers } = await plan(second)
  assert.deepEqual(peers, [{ id: first.id, name: 'agent', addrs: ['/ip4/192.0.2.9/tcp/5052', '/ip4/127.0.0.1/tcp/5052'] }])
})

for (const [what, spoil] of Object.entries({
  'a message that is not in the protocol': (agent: BareAgent) => agent.stream.send({ t: 'give me everything' }),
  'a field out of bounds': (agent: BareAgent) => agent.stream.send({ t: 'report', blob: blob.digest, got: [-1], spread: [], bytes: 0 }),
  'bytes that are no message': (agent: BareAgent) => agent.stream.sendRaw(new Uint8Array([0, 0, 0, 2, 0xff, 0xff])),
  'a message longer than allowed': (agent: BareAgent) => agent.stream.sendRaw(new Uint8Array([0x7f, 0, 0, 0])),
  'a second hello': (agent: BareAgent) => agent.hello()
})) {
  test(`${what} ends the stream of its sender, and of nobody else`, async () => {
    await using tracker = await TestTracker.start()
    const [bad, good] = [await tracker.agent(), await tracker.agent()]
    for (const agent of [bad, good]) agent.hello()
    await plan(bad)
    spoil(bad)
    await bad.closed
    assert.deepEqual(
      (await plan(good)).blobs[0]?.leases.map(({ run }) => run),
      [0, 1],
      'what the other one held is free'
    )
  })
}

test('a stream that begins with anything but hello ends', async () => {
  await using tracker = await TestTracker.start()
  const agent = await tracker.agent()
  agent.say({ t: 'cancel', blob: blob.digest })
  await agent.closed
})

test('an agent of another protocol version is refused as such', async () => {
  await using tracker = await TestTracker.start()
  await assert.rejects(tracker.agent({ protocol: '/layerswarm/directory/2' }), (error) => isLayerswarmError(error, 'PEER_VERSION'))
})

test('a host that opens its stream again replaces the old one', async () => {
  await using tracker = await TestTracker.start()
  const node = await tracker.node()
  const old = await tracker.agent({ node })
  old.hello()
  await plan(old)
  const again = await tracker.agent({ node })
  again.hello()
  await old.closed
  assert.deepEqual(
    (await plan(again)).blobs[0]?.leases.map(({ run }) => run),
    [0, 1]
  )
})

test('a liar is convicted by what it signed under a lease of this tracker, not by what others made up', async () => {
  await using tracker = await TestTracker.start()
  const { key, id } = await newIdentity()
  const liar = await tracker.agent({ node: await tracker.node({ key, id }) })
  const honest = [await tracker.agent(), await tracker.agent()] as const
  const hashes = new Uint8Array(64 * 8 * 32).fill(1)
  for (const agent of [liar, ...honest]) agent.hello()
  const lease = (await plan(liar)).blobs[0]?.leases[0]
  assert.ok(lease)
  for (const agent of honest) {
    agent.say({ t: 'done', blob: blob.digest, size: blob.size, root: mapRoot(blob.digest, hashes) })
    agent.say({ t: 'map', blob: blob.digest, size: blob.size, hashes })
  }
  const words = { blob: blob.digest, first: lease.run * 8, hashes: new Uint8Array(32).fill(2), author: id }
  const next = blobOfRuns(64, 'next')
  const ask = async () => {
    liar.say({ t: 'plan', id: 2, scope: SCOPE, blobs: [next], origin: true, want: true })
    return (await liar.next('plan')).blobs[0]?.leases.length
  }
  const forged = await signClaim((await newIdentity()).key, { ...words, lease })
  const foreign = await newIdentity()
  const unleased = await signClaim(key, { ...words, lease: await signLease(foreign.key, { ...lease, by: foreign.id }) })
  honest[0].say({ t: 'evidence', blob: blob.digest, claims: [forged, unleased, await signClaim(key, words)] })
  assert.ok(await ask())
  let open = await ask()
  for (let attempt = 0; attempt < 100 && open !== 0; attempt++) {
    honest[0].say({ t: 'evidence', blob: blob.digest, claims: [await signClaim(key, { ...words, lease })] })
    open = await ask()
  }
  assert.equal(open, 0)
  assert.deepEqual((await liar.next('leases')).revoke, [0, 1])
  const { hosts } = (await (await tracker.get('/v1/fleet')).json()) as FleetView
  assert.deepEqual(
    hosts.filter(({ distrusted }) => distrusted).map((host) => host.id),
    [id]
  )
})

test('a plan with large maps comes in parts that fit', async () => {
  await using tracker = await TestTracker.start()
  const agents = await Promise.all(Array.from({ length: 3 }, () => tracker.agent()))
  for (const agent of agents) agent.hello()
  const blobs = Array.from({ length: 6 }, (_, i) => ({ ...blobOfRuns(1, `big ${i}`), size: 60 * 2 ** 30 }))
  const hashes = new Uint8Array(((60 * 2 ** 30) / (4 * 2 ** 20)) * 32)
  assert.ok(hashes.byteLength * blobs.length < MAX_DIRECTORY_MESSAGE)
  const [holder, other, asker] = agents as [BareAgent, BareAgent, BareAgent]
  for (const agent of [holder, other]) {
    agent.say({ t: 'hold', full: true, add: blobs, drop: [] })
    for (const { digest, size } of blobs) agent.say({ t: 'map', blob: digest, size, hashes })
    await plan(agent)
  }
  asker.say({ t: 'plan', id: 1, scope: SCOPE, blobs, origin: true, want: true })
  const planned = (await asker.next('plan')).blobs.filter(({ map }) => map?.proven === true).length
  assert.ok(planned > 0 && planned < blobs.length)
  for (let i = planned; i < blobs.length; i++) assert.equal((await asker.next('map')).map.proven, true)
})

test('after a restart its identity is the same, and it stays quiet while leases may be out', async () => {
  await using tracker = await TestTracker.start()
  const { id } = tracker.running
  const agent = await tracker.agent()
  agent.hello()
  await plan(agent)
  await tracker.stop()
  await access(join(tracker.dataDir, 'leases-out'))
  await tracker.start()
  assert.equal(tracker.running.id, id)
  const other = await tracker.agent()
  other.hello()
  assert.deepEqual((await plan(other)).blobs[0]?.leases, [])
  assert.deepEqual(
    (await other.next('leases')).grant.map(({ run }) => run),
    [0, 1]
  )
})
