import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { describeBlob, fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { MemoryRegistryClient } from '@layerswarm/testkit/memory-registry-client.ts'
import type { PartialBlob } from '../../src/ports.ts'
import { bytesOf, codeIs, SwarmBench } from './swarm-bench.ts'

const MIB = 1024 ** 2

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
    await assert.rejects(bytesOf(content), codeIs('DIGEST_MISMATCH'))
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
    await assert.rejects(bytesOf(content), codeIs('DIGEST_MISMATCH'))
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
    await assert.rejects(clock.runUntil(bytesOf(content)), codeIs('DIGEST_MISMATCH'))
    assert.deepEqual(bench.failures, ['digest'])
    assert.equal((await bench.store.stat(blob.digest))?.present, 0)
    await using again = await bench.open(blob)
    assert.ok((await clock.runUntil(bytesOf(again))).equals(blob.bytes))
    assert.deepEqual(again.counts(), { local: 0, peer: 0, registry: 2 * MIB })
  })
})
