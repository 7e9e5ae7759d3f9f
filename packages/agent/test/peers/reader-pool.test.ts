import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '@layerswarm/core/digest.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { ReaderPool } from '../../src/peers/reader-pool.ts'
import type { BlobReader } from '../../src/ports.ts'

const blobs = [fixtureBlob(1000), fixtureBlob(1001)] as const

/** A store whose readers close as told. @returns also what was closed, in order */
async function storeWith(close: (digest: Digest) => Promise<void>) {
  const store = new MemoryBlobStore()
  for (const { digest, layout, bytes } of blobs) await store.add(digest, layout, bytes)
  const closed: Digest[] = []
  const open = async (digest: Digest): Promise<BlobReader | undefined> => {
    const reader = await store.open(digest)
    if (reader === undefined) return undefined
    const dispose = reader[Symbol.asyncDispose].bind(reader)
    return Object.assign(reader, {
      [Symbol.asyncDispose]: async () => {
        closed.push(digest)
        await dispose()
        await close(digest)
      }
    })
  }
  return { store: { open }, closed }
}

test('a reader that is used again while others are closed for idleness stays open', async () => {
  const clock = new ManualClock()
  const closing = Promise.withResolvers<void>()
  const { store, closed } = await storeWith(() => closing.promise)
  await using pool = new ReaderPool({ store, clock })
  const [first, second] = blobs
  for (const { digest } of blobs) await pool.use(digest, async () => undefined)
  await clock.advance(2000)
  assert.deepEqual(closed, [first.digest])
  const work = Promise.withResolvers<void>()
  const using = pool.use(second.digest, async (reader) => {
    await work.promise
    return await reader?.piece(0)
  })
  closing.resolve()
  await clock.advance(5000)
  assert.deepEqual(closed, [first.digest])
  work.resolve()
  assert.deepEqual(await using, new Uint8Array(second.bytes))
})

test('a reader that cannot be closed is no end to anything', async () => {
  const { store, closed } = await storeWith(() => Promise.reject(new Error('a disk that fails')))
  const clock = new ManualClock()
  const pool = new ReaderPool({ store, clock })
  const [{ digest }] = blobs
  await pool.use(digest, async () => undefined)
  pool.forget(digest)
  await clock.advance(1)
  assert.notEqual(await pool.use(digest, async (reader) => reader), undefined)
  assert.deepEqual(closed, [digest])
  await pool[Symbol.asyncDispose]().catch(() => undefined)
})
