// needs: root ip tc nsenter unshare docker-registry
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Fleet } from '../harness/fleet.ts'
import type { Agent } from '../harness/layerswarm.ts'
import { type PublishedImage, payloadBytes } from '../harness/published-image.ts'

const MIB = 1024 * 1024
const REGISTRY_LIMIT = 4_000_000
const UPLOAD_LIMIT = 3_000_000
const DOWNLOAD_LIMIT = 2_000_000
/** What a limit may be exceeded by over some seconds. */
const TOLERANCE = 1.05
/** A busy machine may be slower, the limit is not why. */
const LEAST = 0.5
/** What a host may receive beside the layers, and twice. */
const OVERHEAD = 1.02

describe('limits that an operator sets', { timeout: 240_000 }, () => {
  const stack = new AsyncDisposableStack()
  let fleet: Fleet
  let image: PublishedImage
  let agents: Agent[]

  before(async () => {
    fleet = stack.use(await Fleet.create({ hosts: 6 }))
    image = await fleet.registry.publish('team/app', { layers: [{ seed: 'large', size: 16 * MIB }] })
    const limits = [
      ['--registry-limit', '4MB/s', '--upload-limit', '24Mbit/s'],
      ['--download-limit', '2MB/s'],
      [],
      ...Array.from({ length: 3 }, () => ['--download-limit', '3MB/s', '--upload-limit', '3MB/s'])
    ]
    agents = await Promise.all(limits.map((args, index) => fleet.startAgent(fleet.host(index + 1), { args })))
  })
  after(() => stack.disposeAsync())

  const agent = (number: number): Agent => {
    const found = agents[number - 1]
    assert.ok(found)
    return found
  }

  /** Pulls the image, and measures what `of` says in the middle of its layer, bytes a second. */
  const pull = async (puller: Agent, of: () => Promise<number>): Promise<number> => {
    const [layer] = image.layers
    assert.ok(layer)
    await puller.resolve(fleet.registry.name, 'team/app', 'v1', image)
    const transfer = puller.request(fleet.registry.name, `team/app/blobs/${layer.digest}`, { keep: 'digest' })
    const sample = async (bytes: number) => {
      await transfer.reached(bytes)
      const from = performance.now()
      const value = await of()
      return { from, value, to: performance.now() }
    }
    const first = await sample(4 * MIB)
    const second = await sample(13 * MIB)
    const { status, digest } = await transfer
    assert.deepEqual([status, digest], [200, layer.digest])
    return ((second.value - first.value) * 1000) / (second.to - first.from)
  }

  const assertKept = (rate: number, limit: number): void => {
    assert.ok(rate <= limit * TOLERANCE, `${rate} bytes a second of ${limit}`)
    assert.ok(rate >= limit * LEAST, `${rate} bytes a second of ${limit}`)
  }

  const assertOnce = async (puller: Agent): Promise<void> => {
    const { registry, peer } = await puller.received()
    assert.ok(registry + peer <= payloadBytes(image) * OVERHEAD, `${registry} + ${peer} bytes for ${payloadBytes(image)}`)
  }

  test('--registry-limit is kept, and nothing is fetched twice', async (t) => {
    const rate = await pull(agent(1), async () => (await agent(1).received()).registry)
    t.diagnostic(`${(rate / 1e6).toFixed(2)} MB/s of ${REGISTRY_LIMIT / 1e6} from the registry`)
    assertKept(rate, REGISTRY_LIMIT)
    await assertOnce(agent(1))
  })

  test('--download-limit is kept for what comes from peers, and the registry is left alone', async (t) => {
    const rate = await pull(agent(2), async () => (await agent(2).received()).peer)
    t.diagnostic(`${(rate / 1e6).toFixed(2)} MB/s of ${DOWNLOAD_LIMIT / 1e6} from a peer`)
    assertKept(rate, DOWNLOAD_LIMIT)
    await assertOnce(agent(2))
    assert.ok((await agent(2).received()).registry < MIB)
  })

  test('--upload-limit is kept for peers, and a client of the host is served at once', async (t) => {
    await agent(2).process.stop()
    const sent = async () => (await agent(1).metrics()).sum('layerswarm_bytes_total', { direction: 'out', source: 'peer' })
    const rate = await pull(agent(3), sent)
    t.diagnostic(`${(rate / 1e6).toFixed(2)} MB/s of ${UPLOAD_LIMIT / 1e6} to a peer`)
    assertKept(rate, UPLOAD_LIMIT)
    await assertOnce(agent(3))
    assert.ok((await agent(3).received()).registry < MIB)
    const began = performance.now()
    await agent(1).pull(fleet.registry.name, 'team/app', 'v1', image)
    assert.ok(performance.now() - began < (payloadBytes(image) / UPLOAD_LIMIT) * 500)
  })

  test('hosts with limits that pull at the same time share what they fetch, each byte once', async (t) => {
    for (const number of [1, 3]) await agent(number).process.stop()
    const crowd = [4, 5, 6].map(agent)
    const began = performance.now()
    await Promise.all(crowd.map((puller) => puller.pull(fleet.registry.name, 'team/app', 'v1', image)))
    const seconds = (performance.now() - began) / 1000
    const received = await Promise.all(crowd.map((puller) => puller.received()))
    const copies = received.reduce((sum, { registry }) => sum + registry, 0) / payloadBytes(image)
    t.diagnostic(`${seconds.toFixed(1)} s, ${(payloadBytes(image) / 3e6).toFixed(1)} s at the limit; ${copies.toFixed(3)} registry copies`)
    assert.ok(seconds >= payloadBytes(image) / 3e6 / TOLERANCE)
    assert.ok(copies <= 1.05, `${copies} copies left the registry`)
    for (const puller of crowd) await assertOnce(puller)
    await fleet.verifyStores()
  })
})
