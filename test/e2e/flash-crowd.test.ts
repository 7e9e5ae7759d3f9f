// needs: root ip tc nsenter unshare sysctl mount docker-registry containerd ctr
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Containerd } from '../harness/containerd.ts'
import { Fleet } from '../harness/fleet.ts'
import { type Agent, MIRROR } from '../harness/layerswarm.ts'
import type { Host } from '../harness/network.ts'
import { type PublishedImage, payloadBytes } from '../harness/published-image.ts'

const MIB = 1024 * 1024
const HOSTS = 8
const RATE = '80mbit'
/** Bytes out of the registry's link against one direct pull: once for the whole fleet, and little more. */
const MAX_COPIES = 1.05
/** Seconds of the last host against those of one host that pulls straight from the registry. */
const MAX_SLOWDOWN = 1.6
/** Manifests, headers and what else a pull costs beside its layers. */
const OVERHEAD = 1.02

const BASE = { seed: 'base', size: 128 * MIB }
const RUNTIME = { seed: 'runtime', size: 96 * MIB }

describe(`${HOSTS} hosts pull a 256 MiB image at the same instant over links of ${RATE}`, { timeout: 480_000 }, () => {
  const stack = new AsyncDisposableStack()
  let fleet: Fleet
  let agents: Agent[]
  let clients: Containerd[]
  let image: PublishedImage
  let reference: string
  /** A host that has neither pulled nor stored anything. */
  let fresh: Host
  let bound: { seconds: number; bytes: number }

  before(async () => {
    fleet = stack.use(await Fleet.create({ hosts: HOSTS + 1, rate: RATE }))
    fresh = fleet.host(HOSTS + 1)
    image = await fleet.registry.publish('team/app', { layers: [BASE, RUNTIME, { seed: 'app', size: 32 * MIB }], attestation: true })
    reference = `${fleet.registry.name}/team/app:v1`
    agents = await fleet.startAgents(...Array.from({ length: HOSTS }, (_, index) => index + 1))
    clients = await Promise.all(agents.map(({ host }) => Containerd.start(host, { mirror: MIRROR })))
    bound = await pullDirectly(fleet, fresh, reference)
  })
  after(() => stack.disposeAsync())

  test('each byte leaves the registry once, and no host waits much longer than one alone would', async (t) => {
    const sentBefore = await fleet.registry.host.sentBytes()
    const seconds = await Promise.all(clients.map((client) => timed(() => client.fetch(reference, { timeoutMs: 240_000 }))))
    const copies = ((await fleet.registry.host.sentBytes()) - sentBefore) / bound.bytes
    const slowest = Math.max(...seconds)
    const times = seconds.map((value) => value.toFixed(1)).join(' ')
    t.diagnostic(`bound ${bound.seconds.toFixed(1)} s; hosts ${times} s; last ÷ bound ${(slowest / bound.seconds).toFixed(2)}`)
    const payload = (await Promise.all(agents.map((agent) => agent.received()))).reduce((sum, { registry }) => sum + registry, 0)
    t.diagnostic(`registry copies ${copies.toFixed(3)} at its link; ${(payload / payloadBytes(image)).toFixed(3)} of the payload`)

    for (const client of clients) await assertHolds(client, image)
    await fleet.verifyStores()
    assert.ok(copies <= MAX_COPIES, `${copies} copies left the registry`)
    assert.ok(slowest <= bound.seconds * MAX_SLOWDOWN, `the last host took ${slowest} s, one alone ${bound.seconds} s`)
  })

  test('an image that shares two layers moves only its third', async (t) => {
    const next = await fleet.registry.publish('team/other', { layers: [BASE, RUNTIME, { seed: 'other', size: 32 * MIB }] })
    const [, , third] = next.layers
    assert.ok(third)
    const before = await Promise.all(agents.map((agent) => agent.received()))
    await Promise.all(clients.map((client) => client.fetch(`${fleet.registry.name}/team/other:v1`)))
    const after = await Promise.all(agents.map((agent) => agent.received()))

    for (const [index, { registry, peer }] of after.entries()) {
      const moved = registry + peer - (before[index]?.registry ?? 0) - (before[index]?.peer ?? 0)
      assert.ok(moved >= third.size && moved <= third.size * OVERHEAD, `host ${index + 1} received ${moved} bytes for ${third.size}`)
    }
    const perHost = after.map(({ registry }, index) => registry - (before[index]?.registry ?? 0))
    const fromRegistry = perHost.reduce((sum, bytes) => sum + bytes, 0)
    t.diagnostic(`registry copies of the third layer ${(fromRegistry / third.size).toFixed(3)}`)
    assert.ok(fromRegistry <= third.size * MAX_COPIES, `${fromRegistry} bytes left the registry for ${third.size}`)
    for (const client of clients) await assertHolds(client, next)
  })

  test('without the registry, a host that never saw the image pulls it by digest from peers', async () => {
    await fleet.registry.process.stop()
    const agent = await fleet.startAgent(fresh)
    const client = await Containerd.start(fresh, { name: 'c2', mirror: MIRROR })
    await client.fetch(`${fleet.registry.name}/team/app@${image.root.digest}`)

    await assertHolds(client, image)
    const { registry, peer } = await agent.received()
    assert.equal(registry, 0)
    assert.ok(peer >= payloadBytes(image))
  })

  test('without the registry, a host that had the image resolves its tag and says that it may be stale', async () => {
    const [client, agent] = [clients[0], agents[0]]
    assert.ok(client && agent)
    await client.clear()
    await client.fetch(reference)
    await assertHolds(client, image)
    const head = await agent.request(fleet.registry.name, 'team/app/manifests/v1', { method: 'HEAD' })
    assert.equal(head.headers['docker-content-digest'], image.root.digest)
    assert.match(head.headers.warning ?? '', /^299 /)
  })
})

/** What one host alone takes for the image, straight from the registry, and what the registry's link carries for it. */
async function pullDirectly(fleet: Fleet, host: Host, reference: string): Promise<{ seconds: number; bytes: number }> {
  const client = await Containerd.start(host, { insecure: [fleet.registry.name] })
  const before = await fleet.registry.host.sentBytes()
  const seconds = await timed(() => client.fetch(reference))
  const bytes = (await fleet.registry.host.sentBytes()) - before
  await client.process.stop()
  return { seconds, bytes }
}

async function assertHolds(client: Containerd, image: PublishedImage): Promise<void> {
  const { blobs } = await client.content()
  for (const { digest } of [image.root, image.manifest, image.config, ...image.layers]) assert.ok(blobs.includes(digest), digest)
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}
