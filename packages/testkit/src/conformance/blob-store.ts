import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { BlobReader, BlobStore, HoldingChange, PartialBlob } from '@layerswarm/agent/ports.ts'
import type { Claim } from '@layerswarm/core/claims.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { RUN_PIECES } from '@layerswarm/core/piece-layout.ts'
import { describeBlob, type FixtureBlob, fixtureBlob, INTERESTING_SIZES } from '../blob-fixtures.ts'
import { SeededRandom } from '../seeded-random.ts'

/** Largest chunk that a reader may be given. */
const CHUNK_BOUND = 1024 * 1024
const SEVERAL = 5 * 256 * 1024 + 77

/** What every {@link BlobStore} does, whatever it is made of. `open` gives a fresh, empty store, which the suite disposes. */
export function blobStoreConformance(name: string, open: () => Promise<BlobStore>): void {
  describe(`blob store conformance: ${name}`, () => {
    whatIsWritten(open)
    readingWhileWriting(open)
    falseContent(open)
    lifetimes(open)
  })
}

/** Everything in `range` of a reader. */
export async function readAll(reader: BlobReader, start = 0, end = reader.layout.size): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of reader.read({ start, end })) {
    assert.ok(chunk.byteLength > 0 && chunk.byteLength <= CHUNK_BOUND)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

export async function writeAll(partial: PartialBlob, blob: FixtureBlob, pieces?: Iterable<number>): Promise<void> {
  for (const piece of pieces ?? Array(blob.layout.pieces).keys()) await partial.write(piece, blob.piece(piece), [blob.hash(piece)])
}

/** Puts a whole blob into a store. */
export async function addBlob(store: BlobStore, blob: FixtureBlob): Promise<void> {
  await using partial = await store.begin(blob.digest, blob.layout)
  await writeAll(partial, blob)
  await partial.commit()
}

function equal(actual: Uint8Array | undefined, expected: Uint8Array): void {
  assert.ok(actual !== undefined && Buffer.compare(actual, expected) === 0, 'the bytes differ')
}

function fails(code: LayerswarmError['code']) {
  return (error: unknown) => isLayerswarmError(error, code)
}

function claimOf(blob: FixtureBlob, author: string): Claim {
  const lease = { blob: blob.digest, run: 0, holder: author, serial: 3, by: 'tracker', sig: new Uint8Array([1, 2]) }
  const hashes = blob.map.slice(0, RUN_PIECES * 32)
  return { blob: blob.digest, first: 0, hashes, author, lease, sig: Buffer.from(`signed by ${author}`) }
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

function readingWhileWriting(open: () => Promise<BlobStore>): void {
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
    assert.equal(await partial.piece(0), undefined)
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

function falseContent(open: () => Promise<BlobStore>): void {
  test('a false piece, or one of the wrong length, is refused and stays invisible', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    await assert.rejects(partial.write(0, blob.piece(1), [blob.hash(0)]), fails('PIECE_MISMATCH'))
    await assert.rejects(partial.write(0, blob.piece(0).subarray(1)), fails('PIECE_MISMATCH'))
    await assert.rejects(partial.write(blob.layout.pieces, blob.piece(0)), RangeError)
    assert.equal(partial.have().count, 0)
    assert.equal(await partial.piece(0), undefined)
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

  test('an incomplete blob is not committed', async () => {
    await using store = await open()
    const blob = fixtureBlob(SEVERAL)
    await using partial = await store.begin(blob.digest, blob.layout)
    await partial.write(0, blob.piece(0))
    await assert.rejects(partial.commit(), /every piece|all of its pieces/)
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

  test('waiting for changes can be aborted', async () => {
    await using store = await open()
    const abort = new AbortController()
    const next = store.changes({ signal: abort.signal })[Symbol.asyncIterator]().next()
    abort.abort(new Error('enough'))
    await assert.rejects(next, /enough/)
  })
}

async function statOf(store: BlobStore, blob: FixtureBlob) {
  const stat = await store.stat(blob.digest)
  assert.ok(stat)
  const { usedAt, ...rest } = stat
  assert.ok(usedAt > 0)
  return rest
}
