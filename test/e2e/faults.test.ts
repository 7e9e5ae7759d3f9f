// needs: root ip tc nsenter unshare sysctl mount docker-registry
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Fleet } from '../harness/fleet.ts'
import type { Agent } from '../harness/layerswarm.ts'
import { waitUntil } from '../harness/process.ts'
import type { PublishedImage } from '../harness/published-image.ts'

const MIB = 1024 * 1024
const LIAR = fileURLToPath(new URL('../harness/liar.ts', import.meta.url))
const RATE = '80mbit'
const REPOSITORY = 'team/app'
/** What a restarted agent may fetch again: requests under way at the registry, and what the link's queue held. */
const IN_FLIGHT = 8 * MIB

describe('a pull survives', { timeout: 300_000 }, () => {
  test('the death of the tracker, in the middle and for the next pull; its successor knows what hosts hold', async () => {
    await using fleet = await Fleet.create({ hosts: 4, rate: RATE })
    const agents = await fleet.startAgents(1, 2, 3)
    const image = await fleet.registry.publish(REPOSITORY, oneLayer('first', 24 * MIB))
    const next = await fleet.registry.publish('team/next', oneLayer('next', 8 * MIB))

    const pulls = await Promise.all(agents.map((agent) => startLayer(fleet, agent, REPOSITORY, image)))
    await pulls[0]?.transfer.reached(layerOf(image).size / 2)
    await fleet.tracker.process.crash()
    for (const { transfer } of pulls) assertIsLayer(await transfer, image)
    await Promise.all(agents.map((agent) => agent.pull(fleet.registry.name, 'team/next', 'v1', next)))

    await fleet.tracker.restart()
    for (const agent of agents) assert.ok(await waitUntil(() => agent.isConnectedToTracker(), 15_000), 'an agent has not come back')
    const fresh = await fleet.startAgent(fleet.host(4))
    await fresh.pull(fleet.registry.name, 'team/next', 'v1', next)
    const { registry, peer } = await fresh.received()
    assert.ok(peer >= layerOf(next).size, `${peer} bytes from peers, ${registry} from the registry`)
    await fleet.verifyStores()
  })

  test('the death of all its peers at half of the way, on the same connection to the client', async (t) => {
    await using fleet = await Fleet.create({ hosts: 3, rate: RATE })
    const [agent, ...peers] = await fleet.startAgents(1, 2, 3)
    assert.ok(agent)
    const image = await fleet.registry.publish(REPOSITORY, oneLayer('peers', 64 * MIB))
    await Promise.all(peers.map((peer) => peer.pull(fleet.registry.name, REPOSITORY, 'v1', image)))

    const { transfer } = await startLayer(fleet, agent, REPOSITORY, image)
    // Pieces arrive out of order: the client is far behind what the agent has.
    assert.ok(await waitUntil(async () => (await agent.received()).peer >= layerOf(image).size / 2, 60_000))
    await Promise.all(peers.map((peer) => peer.process.crash()))
    const result = await transfer

    assertIsLayer(result, image)
    const { registry, peer } = await agent.received()
    t.diagnostic(`${peer} bytes from peers, then ${registry} from the registry, in ${result.seconds.toFixed(1)} s`)
    assert.ok(peer > layerOf(image).size / 4 && registry > 0)
    await fleet.verifyStores()
  })

  test('kill -9 of the agent at half of the way: it resumes, and fetches only what was under way again', async (t) => {
    await using fleet = await Fleet.create({ hosts: 2, rate: RATE })
    const image = await fleet.registry.publish(REPOSITORY, oneLayer('resume', 64 * MIB))
    const layer = layerOf(image)
    const direct = await sentFor(fleet, () =>
      fleet.host(2).client.http(`http://${fleet.registry.name}/v2/${REPOSITORY}/blobs/${layer.digest}`, { keep: 'digest' })
    )

    const agent = await fleet.startAgent(fleet.host(1))
    const sent = await sentFor(fleet, async () => {
      const { transfer } = await startLayer(fleet, agent, REPOSITORY, image)
      const broken = assert.rejects(transfer)
      await transfer.reached(layer.size / 2)
      await agent.process.crash()
      await broken
      await agent.restart()
      const again = await startLayer(fleet, agent, REPOSITORY, image)
      assertIsLayer(await again.transfer, image)
    })
    t.diagnostic(`registry copies ${(sent / direct).toFixed(3)}`)
    const { registry } = await agent.received()
    assert.ok(registry <= layer.size / 2 + IN_FLIGHT, `the restarted agent fetched ${registry} of ${layer.size} bytes`)
    assert.ok(sent <= direct * (1 + IN_FLIGHT / layer.size), `${sent} bytes left the registry; a direct pull takes ${direct}`)
    await fleet.verifyStores()
  })
})

test('a peer that sends wrong bytes: none of them reach the client, and it is asked no more', { timeout: 120_000 }, async (t) => {
  await using fleet = await Fleet.create({ hosts: 4, rate: RATE })
  // Two that agree prove the hashes of the pieces; the word of one alone would convict nobody.
  const [agent, ...honest] = await fleet.startAgents(1, 2, 3)
  assert.ok(agent)
  const image = await fleet.registry.publish(REPOSITORY, oneLayer('lied about', 16 * MIB))
  const next = await fleet.registry.publish('team/next', oneLayer('lied about next', 16 * MIB))
  await Promise.all(honest.map((peer) => peer.pull(fleet.registry.name, REPOSITORY, 'v1', image)))
  await Promise.all(honest.map((peer) => peer.pull(fleet.registry.name, 'team/next', 'v1', next)))
  const files = [image, next].map((published) => fleet.registry.layerFile(layerOf(published).digest))
  const host = fleet.host(4)
  const liar = host.start('liar', process.execPath, [LIAR, host.address, fleet.tracker.address, fleet.tracker.clusterKey, ...files])
  await liar.ready(() => liar.log().includes('announced'))
  const asked = (): number => liar.log().split('asked').length - 1

  assertIsLayer(await (await startLayer(fleet, agent, REPOSITORY, image)).transfer, image)
  const askedFirst = asked()
  const failures = (await agent.metrics()).sum('layerswarm_piece_failures_total')
  t.diagnostic(`the liar was asked for ${askedFirst} pieces; ${failures} failed verification`)
  assert.ok(askedFirst > 0 && failures > 0)
  assertIsLayer(await (await startLayer(fleet, agent, 'team/next', next)).transfer, next)
  assert.equal(asked(), askedFirst)
  await fleet.verifyStores()
})

function oneLayer(seed: string, size: number) {
  return { layers: [{ seed, size }] }
}

function layerOf(image: PublishedImage) {
  const [layer] = image.layers
  assert.ok(layer)
  return layer
}

/** Begins to pull the image's layer through an agent. In an object, for a promise would be awaited. */
async function startLayer(fleet: Fleet, agent: Agent, repository: string, image: PublishedImage) {
  await agent.resolve(fleet.registry.name, repository, 'v1', image)
  const transfer = agent.request(fleet.registry.name, `${repository}/blobs/${layerOf(image).digest}`, { keep: 'digest' })
  return { transfer }
}

function assertIsLayer(result: { status: number; digest: string }, image: PublishedImage): void {
  assert.equal(result.status, 200)
  assert.equal(result.digest, layerOf(image).digest)
}

/** The bytes that the registry's link carries while something is done. */
async function sentFor(fleet: Fleet, work: () => Promise<unknown>): Promise<number> {
  const before = await fleet.registry.host.sentBytes()
  await work()
  return (await fleet.registry.host.sentBytes()) - before
}
