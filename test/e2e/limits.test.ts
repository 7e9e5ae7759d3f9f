// needs: root ip nsenter unshare sysctl mount docker-registry
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
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
/** Bytes out of the registry against one image: once for all, and little more. */
const MAX_COPIES = 1.05

describe('limits that an operator sets', { timeout: 240_000 }, () => {
  const stack = new AsyncDisposableStack()
  let fleet: Fleet
  let image: PublishedImage
  let small: PublishedImage
  let agents: Agent[]

  before(async () => {
    fleet = stack.use(await Fleet.create({ hosts: 7 }))
    image = await fleet.registry.publish('team/app', { layers: [{ seed: 'large', size: 12 * MIB }] })
    small = await fleet.registry.publish('team/small', { layers: [{ seed: 'small', size: MIB / 2 }] })
    const limits = [
      ['--registry-limit', '4MB/s', '--upload-limit', '24Mbit/s'],
      ['--download-limit', '2MB/s'],
      [],
      ...Array.from({ length: 2 }, () => ['--download-limit', '3MB/s', '--upload-limit', '3MB/s']),
      ...Array.from({ length: 2 }, () => ['--registry-limit', '80KB/s'])
    ]
    agents = await Promise.all(limits.map((args, index) => fleet.startAgent(fleet.host(index + 1), { args })))
  })
  after(() => stack.disposeAsync())

  const agent = (number: number): Agent => {
    const found = agents[number - 1]
    assert.ok(found)
    return found
  }

  /** Pulls the image, and measures how fast the bytes that `of` counts grow in the middle of its layer, bytes a second. */
  const pull = async (puller: Agent, of: () => Promise<number>): Promise<number> => {
    const [layer] = image.layers
    assert.ok(layer)
    await puller.resolve(fleet.registry.name, 'team/app', 'v1', image)
    const transfer = puller.request(fleet.registry.name, `team/app/blobs/${layer.digest}`, { keep: 'digest' })
    const start = await of()
    const sample = async (bytes: number) => {
      for (;;) {
        const from = performance.now()
        const value = await of()
        if (value - start >= bytes) return { from, value, to: performance.now() }
        await delay(50)
      }
    }
    const first = await sample(3 * MIB)
    const second = await sample(10 * MIB)
    const { status, digest } = await transfer
    assert.deepEqual([status, digest], [200, layer.digest])
    return ((second.value - first.value) * 1000) / (second.to - first.from)
  }

  const assertKept = (rate: number, limit: number): void => {
    assert.ok(rate <= limit * TOLERANCE, `${rate} bytes a second of ${limit}`)
    assert.ok(rate >= limit * LEAST, `${rate} bytes a second of ${limit}`)
  }

  const assertOnce = async (puller: Agent, of = image): Promise<void> => {
    const { registry, peer } = await puller.received()
    assert.ok(registry + peer <= payloadBytes(of) * OVERHEAD, `${registry} + ${peer} bytes for ${payloadBytes(of)}`)
  }

  /** Pulls an image through several agents at once. @returns what left the registry, in images, and the seconds it took */
  const pullTogether = async (crowd: readonly Agent[], repository: string, of: PublishedImage) => {
    const began = performance.now()
    await Promise.all(crowd.map((puller) => puller.pull(fleet.registry.name, repository, 'v1', of)))
    const seconds = (performance.now() - began) / 1000
    const received = await Promise.all(crowd.map((puller) => puller.received()))
    return { seconds, copies: received.reduce((sum, { registry }) => sum + registry, 0) / payloadBytes(of) }
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
    const crowd = [agent(4), agent(5)]
    const { seconds, copies } = await pullTogether(crowd, 'team/app', image)
    const bound = payloadBytes(image) / 3e6
    t.diagnostic(`${seconds.toFixed(1)} s, ${bound.toFixed(1)} s at the limit; ${copies.toFixed(3)} registry copies`)
    assert.ok(seconds >= bound / TOLERANCE)
    assert.ok(copies <= MAX_COPIES, `${copies} copies left the registry`)
    for (const puller of crowd) await assertOnce(puller)
  })

  test('a host that fetches at a crawl for another one is waited for: its pieces take seconds, and it is not dead', async (t) => {
    const crowd = [agent(6), agent(7)]
    const { seconds, copies } = await pullTogether(crowd, 'team/small', small)
    t.diagnostic(
      `${seconds.toFixed(1)} s, ${(payloadBytes(small) / 80_000).toFixed(1)} s at the limit; ${copies.toFixed(3)} registry copies`
    )
    assert.ok(copies <= MAX_COPIES, `${copies} copies left the registry`)
    for (const puller of crowd) await assertOnce(puller, small)
    await fleet.verifyStores()
  })
})
