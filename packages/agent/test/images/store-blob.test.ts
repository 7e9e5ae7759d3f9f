import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { fails, SEVERAL, writeAll } from '@layerswarm/testkit/blob-steps.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { storeBlob } from '../../src/images/store-blob.ts'

const blob = fixtureBlob(SEVERAL)
const content = { digest: blob.digest, size: SEVERAL }

async function* bytes(parts = 7): AsyncGenerator<Uint8Array> {
  const step = Math.ceil(SEVERAL / parts)
  for (let at = 0; at < SEVERAL; at += step) yield blob.bytes.subarray(at, at + step)
}

test('a blob that several take in at a time is taken in once', async () => {
  await using store = new MemoryBlobStore()
  await Promise.all([1, 2, 3].map(() => storeBlob(store, content, bytes())))
  assert.equal((await store.stat(blob.digest))?.state, 'complete')
})

test('a writer that is at it is waited for, and followed where it gave up', async () => {
  for (const ends of [true, false]) {
    await using store = new MemoryBlobStore()
    const writer = await store.begin(blob.digest, blob.layout)
    const stored = storeBlob(store, content, bytes())
    await writeAll(writer, blob, ends ? undefined : [0])
    if (ends) await writer.commit()
    await writer[Symbol.asyncDispose]()
    await stored
    assert.equal((await store.stat(blob.digest))?.state, 'complete')
  }
})

test('who waits can be told to stop', async () => {
  await using store = new MemoryBlobStore()
  await using _writer = await store.begin(blob.digest, blob.layout)
  const stop = new AbortController()
  const stored = storeBlob(store, content, bytes(), { signal: stop.signal })
  stop.abort(new Error('enough'))
  await assert.rejects(stored, /enough/)
})

test('what is not what it should be is not kept', async () => {
  await using store = new MemoryBlobStore()
  const rotten = Buffer.from(blob.bytes).fill(0, 5, 6)
  const wrong = async function* () {
    yield rotten
  }
  await assert.rejects(storeBlob(store, content, wrong()), fails('DIGEST_MISMATCH'))
  assert.equal((await store.stat(blob.digest))?.present, 0)
  await assert.rejects(storeBlob(store, { ...content, size: SEVERAL - 1 }, bytes()), fails('SIZE_MISMATCH'))
})
