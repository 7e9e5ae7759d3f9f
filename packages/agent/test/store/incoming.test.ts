import assert from 'node:assert/strict'
import { appendFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob, readAll, writeAll } from '@layerswarm/testkit/blob-steps.ts'
import type { IncomingBlob } from '../../src/ports.ts'
import { openStore, TempDir } from './temp-store.ts'

const MIB = 1024 * 1024

async function append(incoming: IncomingBlob, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength; at += 100_000) await incoming.append(bytes.subarray(at, at + 100_000))
}

async function leftovers(dir: TempDir): Promise<string[]> {
  return await readdir(join(dir.path, 'ingest'))
}

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`what arrives is a blob once it has proved its ${algorithm}`, async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(5 * MIB + 3)
    const digest = algorithm === 'sha256' ? blob.digest : digestOf(blob.bytes, `sha512:${'0'.repeat(128)}` as typeof blob.digest)
    {
      await using store = await openStore(dir)
      const added = store.changes()[Symbol.asyncIterator]()
      const told = added.next()
      await using incoming = await store.receive()
      await append(incoming, blob.bytes)
      assert.equal(incoming.size, blob.bytes.byteLength)
      const read = Buffer.concat(await Array.fromAsync(incoming.read({ start: MIB - 5, end: 3 * MIB })))
      assert.deepEqual(read, Buffer.from(blob.bytes.subarray(MIB - 5, 3 * MIB)))
      assert.equal(await incoming.proves(fixtureBlob(7).digest), false)
      assert.equal(await incoming.proves(digest), true)
      await incoming.keep(digest)
      assert.deepEqual(await told, { done: false, value: { change: 'added', digest, size: blob.bytes.byteLength } })
      await added.return?.()
      await using reader = await store.open(digest)
      assert.ok(reader?.complete)
      assert.deepEqual(await readAll(reader), blob.bytes)
      assert.equal((await reader.map())?.byteLength, reader.layout.pieces * 32)
    }
    assert.deepEqual(await leftovers(dir), [])
    await using again = await openStore(dir)
    assert.equal((await again.stat(digest))?.state, 'complete')
  })
}

test('what is not kept leaves nothing, and neither does a process that ends', async () => {
  await using dir = await TempDir.make()
  {
    await using store = await openStore(dir)
    {
      await using incoming = await store.receive()
      await incoming.append(Buffer.alloc(1000))
      assert.equal((await leftovers(dir)).length, 1)
    }
    assert.deepEqual(await leftovers(dir), [])
    // Not disposed, as when the process is killed.
    await (await store.receive()).append(Buffer.alloc(1000))
  }
  await using _again = await openStore(dir)
  assert.deepEqual(await leftovers(dir), [])
})

test('a partial blob that nobody writes gives way; one that is being fetched, or whole, stays as it is', async () => {
  await using dir = await TempDir.make()
  await using store = await openStore(dir)
  const [left, fetched, whole] = [fixtureBlob(5 * MIB), fixtureBlob(5 * MIB + 1), fixtureBlob(3000)]
  const receive = async ({ bytes, digest }: typeof left) => {
    await using incoming = await store.receive()
    await append(incoming, bytes)
    assert.ok(await incoming.proves(digest))
    await incoming.keep(digest)
  }
  await (await store.begin(left.digest, left.layout))[Symbol.asyncDispose]()
  await receive(left)
  assert.equal((await store.stat(left.digest))?.state, 'complete')
  {
    await using partial = await store.begin(fetched.digest, fetched.layout)
    await receive(fetched)
    await writeAll(partial, fetched)
    await partial.commit()
  }
  assert.equal((await store.stat(fetched.digest))?.state, 'complete')
  await addBlob(store, whole)
  const { ino } = await stat(join(dir.path, 'blobs', whole.digest.replace(':', '/')))
  await receive(whole)
  assert.equal((await stat(join(dir.path, 'blobs', whole.digest.replace(':', '/')))).ino, ino)
  assert.deepEqual(await leftovers(dir), [])
})

test('a blob that moves in twice at a time is there once, and no fetch of it begins', async () => {
  await using dir = await TempDir.make()
  await using store = await openStore(dir)
  const blob = fixtureBlob(MIB)
  await using incoming = await store.receive()
  await append(incoming, blob.bytes)
  assert.ok(await incoming.proves(blob.digest))
  const [, begun] = await Promise.allSettled([incoming.keep(blob.digest), incoming.keep(blob.digest)])
  assert.equal(begun.status, 'fulfilled')
  await assert.rejects(store.begin(blob.digest, blob.layout), /complete already/)
})

test('what comes after the proof, or while it is kept, is never part of the blob', async () => {
  await using dir = await TempDir.make()
  await using store = await openStore(dir)
  const [blob, other] = [fixtureBlob(MIB), fixtureBlob(MIB + 1)]
  await using late = await store.receive()
  await append(late, other.bytes)
  await assert.rejects(late.keep(other.digest), /not proven/)
  assert.ok(await late.proves(other.digest))
  await late.append(Buffer.alloc(1))
  await assert.rejects(late.keep(other.digest), /not proven/)
  assert.equal(await store.stat(other.digest), undefined)

  await using incoming = await store.receive()
  await append(incoming, blob.bytes)
  assert.ok(await incoming.proves(blob.digest))
  const appending = incoming.append(Buffer.alloc(1))
  await assert.rejects(incoming.keep(blob.digest), /not proven/)
  await appending

  await using good = await store.receive()
  await append(good, blob.bytes)
  assert.ok(await good.proves(blob.digest))
  // As a write leaves it that fails in its middle.
  for (const name of await leftovers(dir)) await appendFile(join(dir.path, 'ingest', name), 'more')
  const keeping = good.keep(blob.digest)
  await assert.rejects(good.append(Buffer.alloc(1)), { code: 'UPLOAD_UNKNOWN' })
  await keeping
  await assert.rejects(good.append(Buffer.alloc(1)), { code: 'UPLOAD_UNKNOWN' })
  assert.equal(await store.verify(blob.digest), true)
  assert.equal((await stat(join(dir.path, 'blobs', blob.digest.replace(':', '/')))).size, MIB)
})

test('what arrives counts against the bound: old blobs go for it, and too much is refused', async () => {
  await using dir = await TempDir.make()
  await using store = await openStore(dir, { maxBytes: 40 * MIB })
  const old = fixtureBlob(20 * MIB)
  await addBlob(store, old)
  await using incoming = await store.receive()
  const part = Buffer.alloc(8 * MIB)
  await incoming.append(part)
  assert.equal((await store.stat(old.digest))?.state, 'complete')
  for (let at = 1; at < 4; at++) await incoming.append(part)
  assert.equal(await store.stat(old.digest), undefined)
  await assert.rejects(incoming.append(part), { code: 'STORE_FULL' })
  assert.equal(incoming.size, 32 * MIB)
})
