import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { BlobStore, HoldingChange } from '@layerswarm/agent/ports.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { describeBlob, fixtureBlob, INTERESTING_SIZES } from '../blob-fixtures.ts'
import { addBlob, CHUNK_BOUND, claimOf, equal, fails, readAll, SEVERAL, statOf, writeAll } from '../blob-steps.ts'
import { SeededRandom } from '../seeded-random.ts'
import { falseContent, readingWhileWriting } from './blob-store-arrival.ts'

/** What every {@link BlobStore} does, whatever it is made of. `open` gives a fresh, empty store, which the suite disposes. */
export function blobStoreConformance(name: string, open: () => Promise<BlobStore>): void {
  describe(`blob store conformance: ${name}`, () => {
    whatIsWritten(open)
    readingWhileWriting(open)
    falseContent(open)
    lifetimes(open)
  })
}

function whatIsWritten(open: () => Promise<BlobStore>): void {
  for (const size of INTERESTING_SIZES) {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      test(`a blob of ${size} bytes under ${algorithm} comes back as it was, whatever the order of its pieces`, async () => {
        await using store = await open()
        const blob = fixtureBlob(size, { algorithm })
        {
          await using partial = await store.begin(blob.digest, blob.layout)
          await writeAll(partial, blob, new SeededRandom(size).shuffle([...Array(blob.layout.pieces).keys()]))
          await partial.commit()
          assert.equal(partial.complete, true)
        }
        await using reader = await store.open(blob.digest)
        assert.ok(reader?.complete)
        equal(await readAll(reader), blob.bytes)
        equal(await reader.map(), blob.map)
        assert.equal(reader.have().complete, true)
        assert.deepEqual(await statOf(store, blob), { digest: blob.digest, size, state: 'complete', present: size })
      })
    }
  }

  test('ranges give exactly their bytes', async () => {
    await using store = await open()
    const blob = fixtureBlob(3 * CHUNK_BOUND + 5)
    await addBlob(store, blob)
    await using reader = await store.open(blob.digest)
    assert.ok(reader)
    const { size, pieceSize } = blob.layout
    for (const [start, end] of [
      [0, 1],
      [size - 1, size],
      [pieceSize - 1, pieceSize + 1],
      [7, CHUNK_BOUND + 7],
      [100, 100]
    ] as const) {
      equal(await readAll(reader, start, end), blob.bytes.subarray(start, end))
    }
  })

  test('memory that is lent for reading is enough for all of it', async () => {
    await using store = await open()
    const blob = fixtureBlob(3 * CHUNK_BOUND + 5)
    await addBlob(store, blob)
    await using reader = await store.open(blob.digest)
    assert.ok(reader)
    for (const into of [new Uint8Array(CHUNK_BOUND), new Uint8Array(1)]) {
      const copies: Uint8Array[] = []
      for await (const chunk of reader.read({ start: 3, end: blob.layout.size }, { into })) copies.push(chunk.slice())
      equal(Buffer.concat(copies), blob.bytes.subarray(3))
      const piece = await reader.piece(1, into)
      assert.ok(piece)
      equal(piece, blob.piece(1))
    }
  })

  test('what is whole is proven again, what is not there cannot be', async () => {
    await using store = await open()
    const [whole, begun] = [fixtureBlob(SEVERAL), fixtureBlob(SEVERAL + 1)]
    await addBlob(store, whole)
    await using partial = await store.begin(begun.digest, begun.layout)
    await writeAll(partial, begun)
    assert.equal(await store.verify(whole.digest), true)
    assert.equal(await store.verify(begun.digest), undefined)
    assert.equal(await store.verify(fixtureBlob(7).digest), undefined)
  })

  test('a piece is written once, even by two writers at the same time', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    const wrote = await Promise.all([partial.write(1, blob.piece(1)), partial.write(1, blob.piece(1)), partial.write(2, blob.piece(2))])
    const firsts = wrote.slice(0, 2).filter((hash) => hash !== undefined)
    assert.equal(firsts.length, 1)
    equal(firsts[0], blob.hash(1))
    assert.equal(await partial.write(1, blob.piece(1)), undefined)
    assert.deepEqual([...partial.have()], [1, 2])
    equal(partial.hashOf(2), blob.hash(2))
    assert.equal(partial.hashOf(0), undefined)
  })

  test('a second writer of a piece takes over when the first one brought false bytes', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    const expected = [blob.hash(0)]
    const [liar, honest] = await Promise.allSettled([partial.write(0, blob.piece(1), expected), partial.write(0, blob.piece(0), expected)])
    assert.ok(liar.status === 'rejected' && isLayerswarmError(liar.reason, 'PIECE_MISMATCH'))
    assert.ok(honest.status === 'fulfilled' && honest.value !== undefined)
  })

  test('bytes may match any of several claims', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    equal(await partial.write(3, blob.piece(3), [blob.hash(0), blob.hash(3)]), blob.hash(3))
    await assert.rejects(partial.write(2, blob.piece(2), []), fails('PIECE_MISMATCH'))
  })

  test("a piece's claim is there before the piece is, and a false piece gets none", async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    await using reader = await store.open(blob.digest)
    const vouched: boolean[] = []
    const vouch = async (hash: Uint8Array) => {
      equal(hash, blob.hash(2))
      vouched.push(partial.have().has(2))
      return claimOf(blob, 'mine')
    }
    await assert.rejects(partial.write(2, blob.piece(1), [blob.hash(2)], vouch), fails('PIECE_MISMATCH'))
    assert.deepEqual(vouched, [])
    equal(await partial.write(2, blob.piece(2), undefined, vouch), blob.hash(2))
    assert.deepEqual(vouched, [false])
    assert.deepEqual(
      reader?.claims().map(({ author }) => author),
      ['mine']
    )
  })

  test('claims are kept while a blob is partial, each once', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    partial.addClaims([claimOf(blob, 'one'), claimOf(blob, 'two')])
    partial.addClaims([claimOf(blob, 'one')])
    await using reader = await store.open(blob.digest)
    assert.deepEqual(
      reader?.claims().map(({ author }) => author),
      ['one', 'two']
    )
    await writeAll(partial, blob)
    await partial.commit()
    assert.deepEqual(reader?.claims(), [])
  })
}

function lifetimes(open: () => Promise<BlobStore>): void {
  test('what is unknown is undefined', async () => {
    await using store = await open()
    const { digest } = fixtureBlob(1)
    assert.equal(await store.stat(digest), undefined)
    assert.equal(await store.open(digest), undefined)
    assert.equal(await store.delete(digest), false)
  })

  test('one writer at a time, and none for a complete blob; another goes on where it stopped', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    {
      await using partial = await store.begin(blob.digest, blob.layout)
      await assert.rejects(store.begin(blob.digest, blob.layout), /writer/)
      await partial.write(2, blob.piece(2))
    }
    assert.equal(await store.open(blob.digest), undefined)
    await using partial = await store.begin(blob.digest, blob.layout)
    assert.deepEqual([...partial.have()], [2])
    await writeAll(partial, blob)
    await partial.commit()
    await partial[Symbol.asyncDispose]()
    await assert.rejects(store.begin(blob.digest, blob.layout), /complete/)
  })

  test('a blob in use is not deleted', async () => {
    await using store = await open()
    const blob = describeBlob(Buffer.from('{"a":1}'))
    const partial = await store.begin(blob.digest, blob.layout)
    assert.equal(await store.delete(blob.digest), false)
    await writeAll(partial, blob)
    await partial.commit()
    await partial[Symbol.asyncDispose]()
    const reader = await store.open(blob.digest)
    assert.ok(reader)
    assert.equal(await store.delete(blob.digest), false)
    await reader[Symbol.asyncDispose]()
    await reader[Symbol.asyncDispose]()
    assert.equal(await store.delete(blob.digest), true)
    assert.equal(await store.stat(blob.digest), undefined)
    await addBlob(store, blob)
    assert.equal((await store.stat(blob.digest))?.state, 'complete')
  })

  test('blobs are listed, and commits and removals told until the store closes', async () => {
    const told: HoldingChange[] = []
    const one = fixtureBlob(10)
    const two = fixtureBlob(SEVERAL)
    let changes: AsyncIterable<HoldingChange>
    {
      await using store = await open()
      changes = store.changes()
      await addBlob(store, one)
      await addBlob(store, two)
      assert.deepEqual((await Array.fromAsync(store.list())).map(({ digest }) => digest).sort(), [one.digest, two.digest].sort())
      const iterator = changes[Symbol.asyncIterator]()
      for (const _ of [one, two]) told.push((await iterator.next()).value)
      await store.delete(two.digest)
      told.push((await iterator.next()).value)
      const waiting = iterator.next()
      await store[Symbol.asyncDispose]()
      assert.equal((await waiting).done, true)
      await assert.rejects(store.begin(one.digest, one.layout), fails('STORE_FAILED'))
    }
    assert.deepEqual(told, [
      { change: 'added', digest: one.digest, size: one.layout.size },
      { change: 'added', digest: two.digest, size: two.layout.size },
      { change: 'removed', digest: two.digest, size: two.layout.size }
    ])
  })

  test('a blob that begins to arrive is told of before it is there', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    const changes = store.changes()[Symbol.asyncIterator]()
    await using partial = await store.begin(blob.digest, blob.layout)
    assert.equal((await changes.next()).value.change, 'started')
    await writeAll(partial, blob)
    await partial.commit()
    assert.equal((await changes.next()).value.change, 'added')
    await partial.commit()
    await assert.rejects(partial.discard([0]), /whole/)
    assert.equal(partial.have().complete, true)
  })

  test('a handle that was disposed gives and takes nothing any more', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    const partial = await store.begin(blob.digest, blob.layout)
    await writeAll(partial, blob, [0])
    await partial[Symbol.asyncDispose]()
    await assert.rejects(partial.write(1, blob.piece(1)), /disposed/)
    await assert.rejects(partial.piece(0), /disposed/)
    await assert.rejects(readAll(partial), /disposed/)
    await using next = await store.begin(blob.digest, blob.layout)
    partial.fail(new Error('of the past'))
    await writeAll(next, blob)
    await next.commit()
  })

  test('following changes can be aborted while one is dealt with', async () => {
    await using store = await open()
    const abort = new AbortController()
    const changes = store.changes({ signal: abort.signal })[Symbol.asyncIterator]()
    const first = changes.next()
    await addBlob(store, fixtureBlob(SEVERAL))
    for (let change = await first; change.value?.change !== 'added'; change = await changes.next());
    abort.abort(new Error('enough'))
    // Whatever fails unseen has been reported by then, and ends the test.
    await new Promise((resolve) => setImmediate(resolve))
    await assert.rejects(changes.next(), /enough/)
  })

  test('waiting for changes can be aborted', async () => {
    await using store = await open()
    const abort = new AbortController()
    const next = store.changes({ signal: abort.signal })[Symbol.asyncIterator]().next()
    abort.abort(new Error('enough'))
    await assert.rejects(next, /enough/)
  })
}
