import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { MemoryRegistryClient } from '@layerswarm/testkit/memory-registry-client.ts'
import type { PartialBlob } from '../../src/ports.ts'
import { bytesOf, codeIs, layerOf, SwarmBench } from './swarm-bench.ts'

const MIB = 1024 ** 2

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
    bench.service.expect(bench.scope, [layerOf(asked), layerOf(ahead)])
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
    await assert.rejects(clock.runUntil(bytesOf(failed)), codeIs('NOT_FOUND'))
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
