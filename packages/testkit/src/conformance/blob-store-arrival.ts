import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BlobReader, BlobStore } from '@layerswarm/agent/ports.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type FixtureBlob, fixtureBlob } from '../blob-fixtures.ts'
import { equal, fails, readAll, SEVERAL, statOf, writeAll } from '../blob-steps.ts'
import { SeededRandom } from '../seeded-random.ts'

/** Reading a blob while it arrives: part of the suite in blob-store.ts. */
export function readingWhileWriting(open: () => Promise<BlobStore>): void {
  test('a reader gets pieces as they land, and the last one only once the whole is proven', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    const last = blob.layout.pieces - 1
    const lastStart = last * blob.layout.pieceSize
    await using partial = await store.begin(blob.digest, blob.layout)
    await using reader = await store.open(blob.digest)
    assert.ok(reader)
    const all = readAll(reader)
    for (const piece of [last, 2, 0, 1, ...Array(last).keys()]) await partial.write(piece, blob.piece(piece))
    equal(await readAll(reader, 0, lastStart), blob.bytes.subarray(0, lastStart))
    equal(await reader.piece(last), blob.piece(last))
    const abort = new AbortController()
    const tail = reader.read({ start: lastStart - 1, end: blob.layout.size }, { signal: abort.signal })[Symbol.asyncIterator]()
    assert.equal((await tail.next()).value?.byteLength, 1)
    const hidden = tail.next()
    abort.abort(new Error('nothing came'))
    await assert.rejects(hidden, /nothing came/)
    assert.equal(reader.complete, false)
    assert.equal(await reader.map(), undefined)
    await partial.commit()
    equal(await all, blob.bytes)
  })

  test('pieces that land are told from the call on, until the blob is complete', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    await partial.write(4, blob.piece(4))
    const told: number[] = []
    const landed = partial.landed()
    await writeAll(partial, blob)
    await partial.commit()
    for await (const pieces of landed) told.push(...pieces)
    assert.deepEqual(told, [0, 1, 2, 3, 5])
    for await (const pieces of partial.landed()) assert.fail(`${pieces} landed after the end`)
  })

  test('a failure reaches everyone who waits; what is there can still be read, and a new writer ends it', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using reader = await firstPiecesThenFail(store, blob, new LayerswarmError('STALLED'))
    equal(await readAll(reader, 0, blob.layout.pieceSize), blob.piece(0))
    await assert.rejects(readAll(reader), fails('STALLED'))
    await using partial = await store.begin(blob.digest, blob.layout)
    assert.equal(partial.have().has(0), true)
    const all = readAll(reader)
    await writeAll(partial, blob)
    await partial.commit()
    equal(await all, blob.bytes)
  })

  test('a piece that is not there is not given out', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    await partial.write(1, blob.piece(1))
    assert.ok((await partial.piece(0)) === undefined)
    equal(await partial.piece(1), blob.piece(1))
    assert.deepEqual(await statOf(store, blob), {
      digest: blob.digest,
      size: blob.layout.size,
      state: 'partial',
      present: blob.layout.pieceSize
    })
  })
}

async function firstPiecesThenFail(store: BlobStore, blob: FixtureBlob, error: Error): Promise<BlobReader> {
  await using partial = await store.begin(blob.digest, blob.layout)
  const reader = await store.open(blob.digest)
  assert.ok(reader)
  await partial.write(0, blob.piece(0))
  const waiting = assert.rejects(readAll(reader), error)
  const landing = assert.rejects(partial.landed()[Symbol.asyncIterator]().next(), error)
  partial.fail(error)
  await Promise.all([waiting, landing])
  return reader
}

/** Content that is not what it should be: part of the suite in blob-store.ts. */
export function falseContent(open: () => Promise<BlobStore>): void {
  test('a false piece, or one of the wrong length, is refused and stays invisible', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    await assert.rejects(partial.write(0, blob.piece(1), [blob.hash(0)]), fails('PIECE_MISMATCH'))
    await assert.rejects(partial.write(0, blob.piece(0).subarray(1)), fails('PIECE_MISMATCH'))
    await assert.rejects(partial.write(blob.layout.pieces, blob.piece(0)), RangeError)
    assert.equal(partial.have().count, 0)
    assert.ok((await partial.piece(0)) === undefined)
  })

  test('a blob of one piece is proven by its digest, not by what anyone claims', async () => {
    await using store = await open()
    const blob = fixtureBlob(1000)
    const other = fixtureBlob(1000, { seed: 2 })
    await using partial = await store.begin(blob.digest, blob.layout)
    await assert.rejects(partial.write(0, other.bytes, [other.hash(0)]), fails('PIECE_MISMATCH'))
    await partial.write(0, blob.bytes)
    await partial.commit()
  })

  test('a false whole is not committed, cuts its readers, and is right after the false pieces came again', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    await using reader = await store.open(blob.digest)
    assert.ok(reader)
    const cut = assert.rejects(readAll(reader), fails('DIGEST_MISMATCH'))
    await partial.write(1, blob.piece(2))
    await writeAll(partial, blob)
    await assert.rejects(partial.commit(), fails('DIGEST_MISMATCH'))
    await cut
    assert.equal((await store.stat(blob.digest))?.state, 'partial')
    assert.equal(partial.have().complete, true)
    await partial.discard([1])
    assert.equal(partial.have().has(1), false)
    await writeAll(partial, blob)
    await partial.commit()
    equal(await readAll(reader), blob.bytes)
  })

  test('a reader that was given a piece which is discarded later never finishes; one that was not does', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    await partial.write(0, blob.piece(1))
    const misled = partial.read({ start: 0, end: blob.layout.size })[Symbol.asyncIterator]()
    const spared = readAll(partial, blob.layout.pieceSize)
    assert.equal((await misled.next()).value?.byteLength, blob.layout.pieceSize)
    await partial.discard([0])
    await writeAll(partial, blob)
    await partial.commit()
    await assert.rejects(misled.next(), fails('DIGEST_MISMATCH'))
    equal(await spared, blob.bytes.subarray(blob.layout.pieceSize))
  })

  for (const seed of [1, 2, 3, 4]) {
    test(`no read to the end of a blob ever finishes with false bytes, whatever comes and goes meanwhile (seed ${seed})`, async () => {
      await using store = await open()
      const random = new SeededRandom(seed)
      const blob = fixtureBlob(SEVERAL, { seed })
      const { pieces, size } = blob.layout
      await using partial = await store.begin(blob.digest, blob.layout)
      const reads: Promise<{ start: number; bytes: Uint8Array | undefined }>[] = []
      while (!partial.complete) {
        const start = random.int(size)
        reads.push(
          readAll(partial, start).then(
            (bytes) => ({ start, bytes }),
            () => ({ start, bytes: undefined })
          )
        )
        const piece = random.int(pieces)
        // Without an expected hash, as from a registry that errs; the wrong piece is of the right length but for the last.
        const from = random.next() < 0.2 && piece < pieces - 1 ? (piece + 1) % (pieces - 1) : piece
        await partial.write(piece, blob.piece(from))
        if (random.next() < 0.2) await partial.discard([random.int(pieces)])
        if (partial.have().complete) await partial.commit().catch(() => partial.discard())
      }
      const ended = await Promise.all(reads)
      const finished = ended.filter(({ bytes }) => bytes !== undefined)
      assert.ok(finished.length > 0)
      for (const { start, bytes } of finished) equal(bytes, blob.bytes.subarray(start))
    })
  }

  test('an incomplete blob is not committed', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    await partial.write(0, blob.piece(0))
    await assert.rejects(partial.commit(), /every piece|all of its pieces/)
  })
}
