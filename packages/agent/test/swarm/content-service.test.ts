import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type FixtureBlob, fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { MemoryRegistryClient } from '@layerswarm/testkit/memory-registry-client.ts'
import { bytesOf, codeIs, layerOf, SwarmBench } from './swarm-bench.ts'

const MIB = 1024 ** 2

describe('content by digest', () => {
  test('that is held is read from the store, and nobody is asked', async () => {
    const store = new MemoryBlobStore()
    const blob = fixtureBlob(MIB)
    await store.add(blob.digest, blob.layout, blob.bytes)
    await using bench = await SwarmBench.open({ store, connected: true })
    await using content = await bench.open(blob)
    assert.ok((await bytesOf(content)).equals(blob.bytes))
    assert.deepEqual(content.counts(), { local: MIB, peer: 0, registry: 0 })
    assert.deepEqual([bench.registry.log.count(), bench.directory.requests.length], [0, 0])
  })

  test('that another request completes in the meantime is read from the store', async () => {
    /** Tells of nothing the first time it is asked, as a store does that commits the blob a moment later. */
    class LateStore extends MemoryBlobStore {
      asked = 0

      override async open(...args: Parameters<MemoryBlobStore['open']>): ReturnType<MemoryBlobStore['open']> {
        return this.asked++ === 0 ? undefined : await super.open(...args)
      }
    }
    const store = new LateStore()
    const blob = fixtureBlob(MIB)
    await store.add(blob.digest, blob.layout, blob.bytes)
    store.asked = 0
    await using bench = await SwarmBench.open({ store })
    await using content = await bench.open(blob)
    assert.ok((await bytesOf(content)).equals(blob.bytes))
  })

  test('that is missing comes from the registry, once, and is held from then on', async () => {
    await using bench = await SwarmBench.open()
    const blob = fixtureBlob(3 * MIB + 5)
    await bench.put(blob)
    await using content = await bench.open(blob)
    assert.ok((await bytesOf(content)).equals(blob.bytes))
    assert.deepEqual(content.counts(), { local: 0, peer: 0, registry: blob.layout.size })
    assert.equal((await bench.store.stat(blob.digest))?.state, 'complete')
    await using again = await bench.open(blob)
    assert.ok((await bytesOf(again, { start: MIB - 3, end: MIB + 3 })).equals(blob.bytes.subarray(MIB - 3, MIB + 3)))
    assert.equal(bench.registry.log.payloadBytes(blob.digest), blob.layout.size)
    assert.equal(bench.received.registry, blob.layout.size)
  })

  test('that several clients ask for at once is fetched once', async () => {
    await using bench = await SwarmBench.open({ connected: true })
    const blob = fixtureBlob(5 * MIB)
    await bench.put(blob)
    bench.directory.answer = () => Promise.reject(new Error('no plan'))
    const contents = await Promise.all([bench.open(blob), bench.open(blob), bench.open(blob)])
    const read = await Promise.all(contents.map((content) => bytesOf(content)))
    for (const bytes of read) assert.ok(bytes.equals(blob.bytes))
    assert.equal(bench.registry.log.payloadBytes(blob.digest), blob.layout.size)
    assert.equal(bench.directory.requests.length, 1)
    for (const content of contents) await content[Symbol.asyncDispose]()
  })

  test('of unknown size: the fleet is asked, then the registry', async () => {
    await using bench = await SwarmBench.open({ connected: true })
    const blob = fixtureBlob(1000)
    const ref = await bench.put(blob)
    bench.directory.answer = ({ want }) => {
      if (want) throw new LayerswarmError('TRACKER_UNREACHABLE')
      return { blobs: [{ digest: blob.digest, size: 1000, known: true, complete: 1, leases: [], mediaType: 'text/plain' }], peers: [] }
    }
    assert.deepEqual(await bench.service.lookup(bench.scope, blob.digest), { size: 1000, mediaType: 'text/plain' })
    await using content = await bench.service.open(ref, {})
    assert.ok((await bytesOf(content)).equals(blob.bytes))

    bench.directory.say({ type: 'down' })
    assert.equal(await bench.service.lookup(bench.scope, blob.digest), undefined)
    const other = fixtureBlob(2000)
    await using second = await bench.service.open(await bench.put(other), {})
    assert.equal(second.size, 2000)
    await assert.rejects(bench.service.open(bench.ref(digestOf(Buffer.from('nowhere'))), {}), codeIs('NOT_FOUND'))
  })

  test('a tracker that cannot say is no error, a caller that left is one', async () => {
    await using bench = await SwarmBench.open({ connected: true })
    bench.directory.answer = () => {
      throw new LayerswarmError('TRACKER_UNREACHABLE')
    }
    const { digest } = fixtureBlob(10)
    assert.equal(await bench.service.lookup(bench.scope, digest), undefined)
    const left = AbortSignal.abort(new Error('left'))
    await assert.rejects(bench.service.lookup(bench.scope, digest, { signal: left }), /left/)
  })

  test('that the registry does not have fails with its reason', async () => {
    const clock = new ManualClock()
    await using bench = await SwarmBench.open({ clock, client: new MemoryRegistryClient([]) })
    await using content = await bench.open(fixtureBlob(2 * MIB))
    await assert.rejects(clock.runUntil(bytesOf(content)), codeIs('NOT_FOUND'))
  })
})

describe('the layers of an image', () => {
  test('are fetched ahead with one plan once one of them is asked for: what follows it, then what precedes it', async () => {
    await using bench = await SwarmBench.open({ connected: true })
    const layers = [1, 2, 3].map((n) => fixtureBlob(n * MIB))
    const [first, second, third] = layers as [FixtureBlob, FixtureBlob, FixtureBlob]
    for (const blob of layers) await bench.put(blob)
    bench.directory.answer = () => Promise.reject(new Error('no plan'))
    bench.service.expect(bench.scope, layers.map(layerOf))
    bench.service.expect('elsewhere/app', [layerOf(third)])
    bench.service.expect(bench.scope, layers.map(layerOf))
    assert.equal(bench.swarm.activity().length, 0, 'nothing is fetched before')
    await using content = await bench.open(second)
    const all = layers.map(({ digest }) => bench.swarm.finished(digest))
    assert.ok((await bytesOf(content)).equals(second.bytes))
    await Promise.all(all)
    assert.deepEqual(
      bench.directory.requests.map(({ scope, want, blobs }) => ({ scope, want, blobs: blobs.map(({ digest }) => digest) })),
      [{ scope: bench.scope, want: true, blobs: [second, third, first].map(({ digest }) => digest) }]
    )
    for (const blob of layers) assert.equal((await bench.store.stat(blob.digest))?.state, 'complete')
    await using ahead = await bench.open(first)
    assert.equal(ahead.counts().local, MIB)
  })

  test('that are given up before the registry says whether it grants them are not planned for', async () => {
    const clock = new ManualClock()
    const client = new MemoryRegistryClient([])
    client.hangs = true
    await using bench = await SwarmBench.open({ connected: true, clock, client })
    const [one, two] = [fixtureBlob(MIB), fixtureBlob(2 * MIB)]
    bench.service.expect(bench.scope, [layerOf(one), layerOf(two)])
    await using _ = await bench.open(one)
    await bench.swarm.abandon(two.digest, new Error('given up'))
    await clock.advance(3000)
    assert.deepEqual(
      bench.directory.requests.map(({ blobs }) => blobs.map(({ digest }) => digest)),
      [[one.digest]]
    )
  })

  test('are left alone where they are held, or belong to an image of another repository', async () => {
    await using bench = await SwarmBench.open({ connected: true })
    const layers = [1, 2, 3].map((n) => fixtureBlob(n * MIB))
    const [held, wanted, foreign] = layers as [FixtureBlob, FixtureBlob, FixtureBlob]
    await (bench.store as MemoryBlobStore).add(held.digest, held.layout, held.bytes)
    await bench.put(wanted)
    bench.service.expect(bench.scope, [held, wanted].map(layerOf))
    await using _content = await bench.open(wanted)
    assert.deepEqual(
      bench.swarm.activity().map(({ transfer }) => transfer.digest),
      [wanted.digest]
    )
    bench.service.expect('elsewhere/app', [layerOf(foreign), layerOf(fixtureBlob(99))])
    await bench.put(foreign)
    await using _other = await bench.open(foreign)
    assert.equal(bench.swarm.activity().length, 2)
  })
})

describe('without a tracker’s word', () => {
  test('hosts known from before are dialled, and the blob comes by owner order', async () => {
    await using bench = await SwarmBench.open({ connected: true, knownPeers: ['old'] })
    const blob = fixtureBlob(3 * MIB)
    await bench.put(blob)
    bench.directory.answer = () => Promise.reject(new LayerswarmError('TRACKER_UNREACHABLE', { detail: 'no answer in time' }))
    await using content = await bench.open(blob)
    assert.ok((await bytesOf(content)).equals(blob.bytes))
    assert.deepEqual(bench.peers.dialled, ['old'])
  })

  test('a host with limits says what can be expected of it, others say nothing', async () => {
    for (const options of [{ linkRate: 80_000 }, {}]) {
      await using bench = await SwarmBench.open({ connected: true, ...options })
      const blob = fixtureBlob(MIB)
      await bench.put(blob)
      bench.directory.answer = () => Promise.reject(new Error('enough'))
      await using content = await bench.open(blob)
      await bytesOf(content)
      assert.equal(bench.directory.requests[0]?.rate, options.linkRate)
    }
  })

  test('a host that the registry does not grant access asks for a plan without leases', async () => {
    await using bench = await SwarmBench.open({ connected: true })
    const blob = fixtureBlob(3 * MIB)
    await bench.put(blob)
    using _denied = bench.registry.fault({ kind: 'blob', method: 'HEAD', fault: { status: 403 } })
    bench.directory.answer = () => Promise.reject(new Error('enough'))
    await using content = await bench.open(blob)
    await bytesOf(content)
    assert.deepEqual(
      bench.directory.requests.map(({ origin }) => origin),
      [false]
    )
  })
})
