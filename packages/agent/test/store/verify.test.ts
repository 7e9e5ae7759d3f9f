import assert from 'node:assert/strict'
import { open, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { hexOf } from '@layerswarm/core/digest.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob, equal, fails, readAll, SEVERAL } from '@layerswarm/testkit/blob-steps.ts'
import { openStore, TempDir } from './temp-store.ts'

function pathOf(dir: TempDir, digest: ReturnType<typeof fixtureBlob>['digest']): string {
  return join(dir.path, 'blobs', 'sha256', hexOf(digest))
}

async function flip(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await file.read(byte, 0, 1, at)
    await file.write(Buffer.from([(byte[0] ?? 0) ^ 0xff]), 0, 1, at)
  } finally {
    await file.close()
  }
}

test('a flipped byte, a cut file and a missing one are found, and the blob can be fetched again', async () => {
  await using dir = await TempDir.make()
  await using store = await openStore(dir)
  const blob = fixtureBlob(SEVERAL)
  const path = pathOf(dir, blob.digest)
  for (const damage of [() => flip(path, SEVERAL - 5), () => truncate(path, 100), () => rm(path)]) {
    await addBlob(store, blob)
    const hashed: number[] = []
    assert.equal(await store.verify(blob.digest, { onProgress: (bytes) => hashed.push(bytes) }), true)
    assert.deepEqual(hashed, [SEVERAL])
    await damage()
    assert.equal(await store.verify(blob.digest), false)
    assert.equal(await store.stat(blob.digest), undefined)
    assert.equal(await store.open(blob.digest), undefined)
  }
})

test('a corrupt blob goes though it is being read: its reader fails, and a new writer has its own', async () => {
  await using dir = await TempDir.make()
  await using store = await openStore(dir)
  const blob = fixtureBlob(8 * 1024 * 1024)
  await addBlob(store, blob)
  await using reader = await store.open(blob.digest)
  assert.ok(reader)
  const reading = reader.read({ start: 0, end: blob.layout.size })[Symbol.asyncIterator]()
  await reading.next()
  const removed = store.changes()[Symbol.asyncIterator]()
  await flip(pathOf(dir, blob.digest), 7_000_000)
  assert.equal(await store.verify(blob.digest), false)
  assert.deepEqual((await removed.next()).value, { change: 'removed', digest: blob.digest, size: blob.layout.size })
  await removed.return?.()
  await assert.rejects(async () => await reading.next(), fails('DIGEST_MISMATCH'))
  await addBlob(store, blob)
  assert.equal(await reader.piece(0), undefined)
  await assert.rejects(readAll(reader), fails('DIGEST_MISMATCH'))
  await reader[Symbol.asyncDispose]()
  await using again = await store.open(blob.digest)
  assert.ok(again)
  equal(await readAll(again), blob.bytes)
})

test('it ends when it is told to', async () => {
  await using dir = await TempDir.make()
  await using store = await openStore(dir)
  const blob = fixtureBlob(SEVERAL)
  await addBlob(store, blob)
  const reason = new Error('enough')
  await assert.rejects(store.verify(blob.digest, { signal: AbortSignal.abort(reason) }), reason)
  assert.equal(await store.verify(blob.digest), true)
})
