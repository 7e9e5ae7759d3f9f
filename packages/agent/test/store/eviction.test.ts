import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob, readAll, writeAll } from '@layerswarm/testkit/blob-steps.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import fc from 'fast-check'
import { ABANDONED_AFTER_MS, chooseVictims, type StoredBlob } from '../../src/store/eviction.ts'
import { openStore, TempDir } from './temp-store.ts'

const NOW = 10 * ABANDONED_AFTER_MS

function stored(name: string, over: Partial<StoredBlob> = {}): StoredBlob {
  return { digest: name as Digest, state: 'complete', bytes: 10, usedAt: NOW, inUse: false, ...over }
}

describe('the choice of victims', () => {
  test('takes the least recently used, and no more than needed', () => {
    const blobs = [stored('b', { usedAt: 2 }), stored('a', { usedAt: 1 }), stored('c', { usedAt: 3 })]
    assert.deepEqual(chooseVictims(blobs, { maxBytes: 30, need: 0, now: NOW }), { victims: [], fits: true })
    assert.deepEqual(chooseVictims(blobs, { maxBytes: 30, need: 11, now: NOW }), { victims: ['a', 'b'], fits: true })
  })

  test('takes abandoned partial blobs even where there is room', () => {
    const blobs = [
      stored('old', { state: 'partial', usedAt: NOW - ABANDONED_AFTER_MS - 1 }),
      stored('young', { state: 'partial', usedAt: NOW - ABANDONED_AFTER_MS }),
      stored('busy', { state: 'partial', usedAt: 0, inUse: true })
    ]
    assert.deepEqual(chooseVictims(blobs, { maxBytes: 1000, need: 0, now: NOW }).victims, ['old'])
  })

  test('for any blobs: what is in use stays, the rest goes oldest first, and it tells truly whether the need fits', () => {
    const blob = fc.record({
      state: fc.constantFrom('complete' as const, 'partial' as const),
      bytes: fc.nat(100),
      usedAt: fc.integer({ min: NOW - 1000, max: NOW }),
      inUse: fc.boolean()
    })
    fc.assert(
      fc.property(fc.array(blob, { maxLength: 30 }), fc.nat(1000), fc.nat(300), (given, maxBytes, need) => {
        const blobs = given.map((one, at) => stored(String(at), one))
        const { victims, fits } = chooseVictims(blobs, { maxBytes, need, now: NOW })
        const gone = blobs.filter(({ digest }) => victims.includes(digest))
        const kept = blobs.filter(({ digest }) => !victims.includes(digest))
        const left = kept.reduce((sum, { bytes }) => sum + bytes, 0)
        assert.equal(fits, left + need <= maxBytes)
        assert.ok(gone.every(({ inUse }) => !inUse))
        const youngestGone = Math.max(...gone.map(({ usedAt }) => usedAt))
        assert.ok(kept.every(({ inUse, usedAt }) => inUse || usedAt >= youngestGone))
        if (!fits) assert.ok(kept.every(({ inUse }) => inUse))
      }),
      { seed: 1 }
    )
  })
})

describe('a store with a bound', () => {
  const MIB = 1024 * 1024

  test('makes room for a new blob by what was used least recently', async () => {
    await using dir = await TempDir.make()
    let now = 1000
    await using store = await openStore(dir, { maxBytes: 3 * MIB }, { now: () => now++ })
    const a = fixtureBlob(MIB, { seed: 'a' })
    const b = fixtureBlob(MIB, { seed: 'b' })
    const c = fixtureBlob(MIB, { seed: 'c' })
    for (const blob of [a, b, c]) await addBlob(store, blob)
    await (await store.open(a.digest))?.[Symbol.asyncDispose]()
    const changes = store.changes()[Symbol.asyncIterator]()
    await addBlob(store, fixtureBlob(MIB, { seed: 'd' }))
    assert.deepEqual((await changes.next()).value, { change: 'removed', digest: b.digest, size: MIB })
    assert.equal(await store.open(b.digest), undefined)
    assert.deepEqual(store.usage(), { complete: 3 * MIB, partial: 0 })
  })

  test('never evicts what is being read or written, and refuses what then does not fit', async () => {
    await using dir = await TempDir.make()
    await using store = await openStore(dir, { maxBytes: 3 * MIB })
    const read = fixtureBlob(MIB, { seed: 'read' })
    const written = fixtureBlob(MIB, { seed: 'written' })
    const idle = fixtureBlob(MIB, { seed: 'idle' })
    await addBlob(store, read)
    await addBlob(store, idle)
    await using reader = await store.open(read.digest)
    await using writer = await store.begin(written.digest, written.layout)
    await writeAll(writer, written, [0])
    const large = fixtureBlob(2 * MIB)
    await assert.rejects(store.begin(large.digest, large.layout), (error) => isLayerswarmError(error, 'STORE_FULL'))
    assert.equal((await store.stat(idle.digest))?.state, 'complete', 'nothing goes in vain')
    const small = fixtureBlob(MIB, { seed: 'small' })
    await addBlob(store, small)
    assert.equal(await store.stat(idle.digest), undefined)
    assert.ok(reader && Buffer.compare(await readAll(reader), read.bytes) === 0)
    await writeAll(writer, written)
    await writer.commit()
  })

  test('counts a blob being written with all its bytes from the start', async () => {
    await using dir = await TempDir.make()
    await using store = await openStore(dir, { maxBytes: 3 * MIB })
    const one = fixtureBlob(2 * MIB, { seed: 'one' })
    const two = fixtureBlob(2 * MIB, { seed: 'two' })
    const first = await store.begin(one.digest, one.layout)
    await assert.rejects(store.begin(two.digest, two.layout), (error) => isLayerswarmError(error, 'STORE_FULL'))
    await first[Symbol.asyncDispose]()
    await addBlob(store, two)
  })

  test('is brought within a smaller bound at its next start, which also ends abandoned partial blobs', async () => {
    await using dir = await TempDir.make()
    const blobs = ['a', 'b', 'c'].map((seed) => fixtureBlob(MIB, { seed }))
    const abandoned = fixtureBlob(MIB, { seed: 'abandoned' })
    {
      let now = Date.now()
      await using store = await openStore(dir, {}, { now: () => now++ })
      for (const blob of new SeededRandom(4).shuffle(blobs)) await addBlob(store, blob)
      for (const blob of blobs) await (await store.open(blob.digest))?.[Symbol.asyncDispose]()
      await using partial = await store.begin(abandoned.digest, abandoned.layout)
      await writeAll(partial, abandoned, [0])
    }
    await using store = await openStore(dir, { maxBytes: 2 * MIB }, { now: () => Date.now() + ABANDONED_AFTER_MS + 60_000 })
    const left = (await Array.fromAsync(store.list())).map(({ digest }) => digest)
    assert.deepEqual(
      left.sort(),
      blobs
        .slice(1)
        .map(({ digest }) => digest)
        .sort()
    )
  })
})
