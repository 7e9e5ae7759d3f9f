import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { OCTETS } from '@layerswarm/core/image/manifest.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { describeBlob, type FixtureBlob, fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { MemoryRegistryClient } from '@layerswarm/testkit/memory-registry-client.ts'
import type { PartialBlob } from '../../src/ports.ts'
import { bytesOf, SwarmBench } from './swarm-bench.ts'

const MIB = 1024 ** 2
const layer = (blob: FixtureBlob) => ({ digest: blob.digest, size: blob.layout.size, mediaType: OCTETS })
const code =
  (...codes: Parameters<typeof isLayerswarmError>[1][]) =>
  (error: unknown) =>
    isLayerswarmError(error, ...codes)

/** A store that runs full after some pieces. */
class SmallStore extends MemoryBlobStore {
  left: number

  constructor(pieces: number) {
    super()
    this.left = pieces
  }

  override async begin(...args: Parameters<MemoryBlobStore['begin']>): Promise<PartialBlob> {
    const partial = await super.begin(...args)
    const write = partial.write.bind(partial)
    partial.write = async (...piece) => {
      if (this.left-- <= 0) throw new LayerswarmError('STORE_FULL')
      return await write(...piece)
    }
    return partial
  }
}

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
    await assert.rejects(bench.service.open(bench.ref(digestOf(Buffer.from('nowhere'))), {}), code('NOT_FOUND'))
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
    await assert.rejects(clock.runUntil(bytesOf(content)), code('NOT_FOUND'))
  })
})

describe('the layers of an image', () => {
  test('are fetched ahead with one plan, in the order of the manifest, once one of them is asked for', async () => {
    await using bench = await SwarmBench.open({ connected: true })
    const layers = [1, 2, 3].map((n) => fixtureBlob(n * MIB))
    const [first, second, third] = layers as [FixtureBlob, FixtureBlob, FixtureBlob]
    for (const blob of layers) await bench.put(blob)
    bench.directory.answer = () => Promise.reject(new Error('no plan'))
    bench.service.expect(bench.scope, layers.map(layer))
    bench.service.expect('elsewhere/app', [layer(third)])
    bench.service.expect(bench.scope, layers.map(layer))
    assert.equal(bench.swarm.activity().length, 0, 'nothing is fetched before')
    await using content = await bench.open(second)
    const all = layers.map(({ digest }) => bench.swarm.finished(digest))
    assert.ok((await bytesOf(content)).equals(second.bytes))
    await Promise.all(all)
    assert.deepEqual(
      bench.directory.requests.map(({ scope, want, blobs }) => ({ scope, want, blobs: blobs.map(({ digest }) => digest) })),
      [{ scope: bench.scope, want: true, blobs: layers.map(({ digest }) => digest) }]
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
    bench.service.expect(bench.scope, [layer(one), layer(two)])
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
    bench.service.expect(bench.scope, [held, wanted].map(layer))
    await using _content = await bench.open(wanted)
    assert.deepEqual(
      bench.swarm.activity().map(({ transfer }) => transfer.digest),
      [wanted.digest]
    )
    bench.service.expect('elsewhere/app', [layer(foreign), layer(fixtureBlob(99))])
    await bench.put(foreign)
    await using _other = await bench.open(foreign)
    assert.equal(bench.swarm.activity().length, 2)
  })
})

describe('a store that cannot write', () => {
  test('from the start: the bytes pass through, verified', async () => {
    await using bench = await SwarmBench.open({ store: new MemoryBlobStore({ maxBytes: MIB }) })
    const blob = fixtureBlob(3 * MIB)
    await bench.put(blob)
    await using content = await bench.open(blob)
    assert.ok((await bytesOf(content)).equals(blob.bytes))
    assert.deepEqual(content.counts(), { local: 0, peer: 0, registry: 3 * MIB })
  })

  test('any more: the same reader goes on from the registry', async () => {
    await using bench = await SwarmBench.open({ store: new SmallStore(5) })
    const blob = fixtureBlob(4 * MIB)
    await bench.put(blob)
    await using content = await bench.open(blob)
    assert.ok((await bytesOf(content)).equals(blob.bytes))
    assert.equal(bench.swarm.activity().length, 0)
    assert.deepEqual(content.counts(), { local: 0, peer: 0, registry: 4 * MIB })
    await using range = await bench.open(blob)
    assert.ok((await bytesOf(range, { start: MIB + 1, end: 3 * MIB })).equals(blob.bytes.subarray(MIB + 1, 3 * MIB)))
  })

  test('does not complete a client that was given false bytes before', async () => {
    const store = new SmallStore(4)
    await using bench = await SwarmBench.open({ store, connected: true })
    const blob = fixtureBlob(2 * MIB)
    await bench.put(blob)
    const liar = await newIdentity()
    const lies = describeBlob(Buffer.from(blob.bytes).fill(7, 0, 100))
    const peer = bench.peers.add(liar.id)
    const pieces = [0, 1, 2, 3, 4, 5]
    const claims = await Promise.all(pieces.map((piece) => bench.claim(liar, blob, piece, lies.hash(piece))))
    peer.give({ ...lies, digest: blob.digest }, { pieces, claims })
    bench.peers.up(liar.id)
    await using content = await bench.open(blob)
    await assert.rejects(bytesOf(content), code('DIGEST_MISMATCH'))
    assert.ok(store.left < 0)
  })
})

describe('bytes that do not fit the digest', () => {
  test('from the registry: the reader fails, nothing is held, and the next attempt succeeds', async () => {
    await using bench = await SwarmBench.open()
    const blob = fixtureBlob(2 * MIB)
    await bench.put(blob)
    const fault = bench.registry.fault({ kind: 'blob', method: 'GET', fault: { corruptAt: 1000 } })
    await using content = await bench.open(blob)
    await assert.rejects(bytesOf(content), code('DIGEST_MISMATCH'))
    assert.notEqual((await bench.store.stat(blob.digest))?.state, 'complete')
    fault[Symbol.dispose]()
    await using again = await bench.open(blob)
    assert.ok((await bytesOf(again)).equals(blob.bytes))
  })

  test('vouched for by a liar: its word counts no more, and the next attempt succeeds without it', async () => {
    const clock = new ManualClock()
    await using bench = await SwarmBench.open({ clock, connected: true, client: new MemoryRegistryClient([]) })
    const blob = fixtureBlob(2 * MIB)
    await bench.put(blob)
    const liar = await newIdentity()
    const lies = describeBlob(Buffer.from(blob.bytes).fill(7, 0, 100))
    const claims = await Promise.all([...Array(8).keys()].map((piece) => bench.claim(liar, blob, piece, lies.hash(piece))))
    bench.peers.add(liar.id).give({ ...lies, digest: blob.digest }, { claims })
    bench.peers.up(liar.id)
    await using content = await bench.open(blob)
    await assert.rejects(clock.runUntil(bytesOf(content)), code('DIGEST_MISMATCH'))
    assert.deepEqual(bench.failures, ['digest'])
    assert.equal((await bench.store.stat(blob.digest))?.present, 0)
    await using again = await bench.open(blob)
    assert.ok((await clock.runUntil(bytesOf(again))).equals(blob.bytes))
    assert.deepEqual(again.counts(), { local: 0, peer: 0, registry: 2 * MIB })
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

test('a blob that waits behind others of its image sees that bytes come in', async () => {
  const client = new MemoryRegistryClient([])
  client.hangs = true
  await using bench = await SwarmBench.open({ client })
  const [first, second] = [fixtureBlob(2 * MIB), fixtureBlob(MIB + 1)]
  await bench.put(first)
  await using waiting = await bench.open(second)
  assert.equal(waiting.moved?.(), 0)
  client.hangs = false
  await using content = await bench.open(first)
  assert.ok((await bytesOf(content)).equals(first.bytes))
  assert.equal(waiting.moved?.(), 2 * MIB)
})

describe('a fetch that nobody reads', () => {
  test('goes on for thirty seconds, then stops; a client that comes back meanwhile keeps it', async () => {
    const clock = new ManualClock()
    const client = new MemoryRegistryClient([])
    client.hangs = true
    await using bench = await SwarmBench.open({ clock, connected: true, client })
    const blob = fixtureBlob(2 * MIB)
    const content = await bench.open(blob)
    await content[Symbol.asyncDispose]()
    await content[Symbol.asyncDispose]()
    await clock.advance(20_000)
    const back = await bench.open(blob)
    await clock.advance(20_000)
    assert.equal(bench.swarm.activity().length, 1)
    await back[Symbol.asyncDispose]()
    await clock.advance(29_900)
    assert.equal(bench.swarm.activity().length, 1)
    await clock.advance(200)
    assert.equal(bench.swarm.activity().length, 0)
    assert.equal(bench.directory.told('cancel').length, 1)
  })

  test('goes on for thirty seconds after the last of its readers, not after an earlier one', async () => {
    const clock = new ManualClock()
    const client = new MemoryRegistryClient([])
    client.hangs = true
    await using bench = await SwarmBench.open({ clock, connected: true, client })
    const blob = fixtureBlob(2 * MIB)
    for (let reader = 0; reader < 3; reader++) {
      await (await bench.open(blob))[Symbol.asyncDispose]()
      await clock.advance(20_000)
      assert.equal(bench.swarm.activity().length, 1)
    }
    await clock.advance(10_000)
    assert.equal(bench.swarm.activity().length, 0)
  })

  test('stops after thirty seconds, too, where the blob that was asked for is complete before it is joined', async () => {
    const clock = new ManualClock()
    const client = new MemoryRegistryClient([])
    client.hangs = true
    const [asked, ahead] = [fixtureBlob(MIB), fixtureBlob(2 * MIB)]
    /** Has the blob complete as soon as its fetch has begun. */
    class SwiftStore extends MemoryBlobStore {
      readonly fetched = new MemoryBlobStore()

      override async begin(...args: Parameters<MemoryBlobStore['begin']>): Promise<PartialBlob> {
        if (args[0] === asked.digest) await this.fetched.add(asked.digest, asked.layout, asked.bytes)
        return await super.begin(...args)
      }

      override async open(...args: Parameters<MemoryBlobStore['open']>): ReturnType<MemoryBlobStore['open']> {
        return (await this.fetched.open(...args)) ?? (await super.open(...args))
      }
    }
    const store = new SwiftStore()
    await using bench = await SwarmBench.open({ clock, connected: true, client, store })
    bench.service.expect(bench.scope, [layer(asked), layer(ahead)])
    await using content = await bench.open(asked)
    assert.ok((await bytesOf(content)).equals(asked.bytes))
    assert.ok(bench.swarm.running(ahead.digest))
    await clock.advance(30_000)
    assert.equal(bench.swarm.running(ahead.digest), undefined)
  })

  test('and failed is none of the next one, which is read', async () => {
    const clock = new ManualClock()
    const client = new MemoryRegistryClient([])
    await using bench = await SwarmBench.open({ clock, connected: true, client })
    const blob = fixtureBlob(2 * MIB)
    const failed = await bench.open(blob)
    await assert.rejects(clock.runUntil(bytesOf(failed)), code('NOT_FOUND'))
    await failed[Symbol.asyncDispose]()
    client.hangs = true
    await using content = await bench.open(blob)
    const read = bytesOf(content)
    const ended = assert.rejects(read, /stopping/)
    await clock.advance(31_000)
    assert.equal(bench.swarm.activity().length, 1)
    await bench.swarm[Symbol.asyncDispose]()
    await ended
  })
})

test('an agent that stops tells its readers, and keeps what has landed', async () => {
  const clock = new ManualClock()
  const client = new MemoryRegistryClient([])
  client.hangs = true
  const store = new MemoryBlobStore()
  await using bench = await SwarmBench.open({ clock, client, store })
  const blob = fixtureBlob(2 * MIB)
  const peer = bench.peers.add('peer')
  peer.give(blob, { pieces: [0, 1], map: blob.map })
  bench.peers.up('peer')
  await using content = await bench.open(blob)
  const chunks = content.read({ start: 0, end: blob.layout.size })[Symbol.asyncIterator]()
  await clock.runUntil(chunks.next())
  const next = chunks.next()
  next.catch(() => undefined)
  await bench.swarm[Symbol.asyncDispose]()
  bench.service[Symbol.dispose]()
  await assert.rejects(async () => {
    for (let result = await next; result.done !== true; ) result = await chunks.next()
  }, /stopping/)
  assert.equal(clock.sleeping, 0, 'nobody waits for anything')
  assert.ok(((await store.stat(blob.digest))?.present ?? 0) > 0)
})
