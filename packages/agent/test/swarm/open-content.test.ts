import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import type { OpenContent, PartialBlob } from '../../src/ports.ts'
import { StoredContent, TransferContent } from '../../src/swarm/open-content.ts'
import { PIECE_BYTES, range } from './test-host.ts'

const blob = fixtureBlob(4 * PIECE_BYTES)
const whole = { start: 0, end: blob.layout.size }

/** A blob that arrives as the test says, and a client of it. */
async function arriving() {
  const store = new MemoryBlobStore()
  const partial = await store.begin(blob.digest, blob.layout)
  const reader = await store.open(blob.digest)
  if (reader === undefined) throw new Error('there is a writer')
  const waits: [number, boolean][] = []
  const passed: string[] = []
  let closed = 0
  const content = new TransferContent({
    reader,
    transfer: { counts: { local: 1, peer: 2, registry: 3 }, has: (piece) => partial.have().has(piece) },
    moved: () => 6,
    waiting: (piece, waiting) => waits.push([piece, waiting]),
    passThrough: () => passing(passed),
    closed: () => {
      closed++
    }
  })
  return { partial, content, waits, passed, closed: () => closed }
}

function passing(reads: string[]): OpenContent {
  return {
    size: blob.layout.size,
    counts: () => ({ local: 0, peer: 0, registry: blob.layout.size }),
    async *read({ start, end }) {
      reads.push(`${start}-${end}`)
      for (let at = start; at < end; at += 1000) yield blob.bytes.subarray(at, Math.min(end, at + 1000))
    },
    async [Symbol.asyncDispose]() {}
  }
}

async function land(partial: PartialBlob, ...pieces: number[]): Promise<void> {
  for (const piece of pieces) await partial.write(piece, blob.piece(piece))
}

async function collect(content: OpenContent, bytes = whole): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of content.read(bytes)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

describe('content that still arrives', () => {
  test('is read in order as it lands, and the scheduler hears what its reader waits for', async () => {
    const { partial, content, waits, closed } = await arriving()
    await land(partial, 0)
    const chunks = content.read(whole)[Symbol.asyncIterator]()
    assert.equal((await chunks.next()).value?.byteLength, PIECE_BYTES)
    assert.deepEqual(waits, [], 'what is here is not waited for')
    const next = chunks.next()
    assert.deepEqual(waits, [[1, true]])
    await land(partial, 1)
    assert.equal((await next).value?.byteLength, PIECE_BYTES)
    assert.deepEqual(waits, [
      [1, true],
      [1, false]
    ])
    await land(partial, 2, 3)
    await chunks.next()
    const last = chunks.next()
    assert.equal(waits.length, 2, 'the last piece is here; only its proof is waited for')
    await partial.commit()
    assert.equal((await last).value?.byteLength, PIECE_BYTES)
    assert.equal((await chunks.next()).done, true)
    assert.deepEqual(content.counts(), { local: 1, peer: 2, registry: 3 })
    await content[Symbol.asyncDispose]()
    await content[Symbol.asyncDispose]()
    assert.equal(closed(), 1)
  })

  test('is read in ranges', async () => {
    const { partial, content } = await arriving()
    await land(partial, ...range(0, 4))
    await partial.commit()
    assert.ok((await collect(content, { start: 77, end: PIECE_BYTES + 5 })).equals(blob.bytes.subarray(77, PIECE_BYTES + 5)))
    assert.equal((await collect(content, { start: 9, end: 9 })).byteLength, 0)
  })

  test('fails with the reason when no source is left, and waits for nothing then', async () => {
    const { partial, content, waits } = await arriving()
    await land(partial, 0)
    const read = collect(content)
    partial.fail(new LayerswarmError('REGISTRY_DENIED'))
    await assert.rejects(read, /refused access/)
    assert.deepEqual(waits.filter(([, waiting]) => waiting).length, waits.filter(([, waiting]) => !waiting).length)
  })

  test('goes on from the registry when the store fails, and gives nothing twice', async () => {
    for (const code of ['STORE_FULL', 'STORE_FAILED'] as const) {
      const { partial, content, passed } = await arriving()
      await land(partial, 0, 1)
      const chunks = content.read({ start: 100, end: whole.end })[Symbol.asyncIterator]()
      const first = await chunks.next()
      partial.fail(new LayerswarmError(code))
      const rest: Uint8Array[] = []
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) rest.push(next.value)
      assert.ok(Buffer.concat([first.value ?? new Uint8Array(), ...rest]).equals(blob.bytes.subarray(100)))
      assert.deepEqual(passed, [`100-${whole.end}`])
      assert.equal(content.counts().registry, blob.layout.size)
    }
  })

  test('is cut when what was given out before is not what the registry sends', async () => {
    const { partial, content } = await arriving()
    await partial.write(0, new Uint8Array(PIECE_BYTES))
    const chunks = content.read(whole)[Symbol.asyncIterator]()
    await chunks.next()
    partial.fail(new LayerswarmError('STORE_FULL'))
    await assert.rejects(async () => await chunks.next(), /does not match its digest/)
  })

  test('of a client that left does not pass through', async () => {
    const { partial, content, passed } = await arriving()
    const left = new AbortController()
    const read = (async () => {
      for await (const _ of content.read(whole, { signal: left.signal }));
    })()
    left.abort(new Error('left'))
    partial.fail(new LayerswarmError('STORE_FULL'))
    await assert.rejects(read)
    assert.deepEqual(passed, [])
  })
})

test('content of the store is local, unless it has just arrived', async () => {
  const store = new MemoryBlobStore()
  await store.add(blob.digest, blob.layout, blob.bytes)
  const reader = await store.open(blob.digest)
  assert.ok(reader)
  await using content = new StoredContent(reader)
  assert.deepEqual(content.counts(), { local: blob.layout.size, peer: 0, registry: 0 })
  assert.deepEqual(new StoredContent(reader, { local: 0, peer: 1, registry: 2 }).counts(), { local: 0, peer: 1, registry: 2 })
  assert.ok((await collect(content)).equals(blob.bytes))
})
