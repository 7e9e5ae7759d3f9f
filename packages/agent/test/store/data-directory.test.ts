import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFile, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { hexOf } from '@layerswarm/core/digest.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob, claimOf, readAll, writeAll } from '@layerswarm/testkit/blob-steps.ts'
import { ingestPath, openStore, TempDir } from './temp-store.ts'

const SIZE = 40 * 256 * 1024 + 9
const COMMITTED = 3 * 256 * 1024

describe('the data directory', () => {
  test('is an OCI image layout', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(COMMITTED)
    // As a process leaves it that is killed while it writes it.
    await writeFile(join(dir.path, 'oci-layout'), '')
    {
      await using store = await openStore(dir)
      await addBlob(store, blob)
    }
    assert.deepEqual(JSON.parse(await readFile(join(dir.path, 'oci-layout'), 'utf8')), { imageLayoutVersion: '1.0.0' })
    assert.deepEqual(JSON.parse(await readFile(join(dir.path, 'index.json'), 'utf8')).manifests, [])
    assert.equal(Buffer.compare(await readFile(join(dir.path, 'blobs', 'sha256', hexOf(blob.digest))), blob.bytes), 0)
    assert.deepEqual(await readdir(join(dir.path, 'ingest')), [])
  })

  test('is given to one process at a time', async () => {
    await using dir = await TempDir.make()
    await using _store = await openStore(dir)
    const url = new URL('../../src/store/fs-blob-store.ts', import.meta.url).href
    const code = `const { FsBlobStore } = await import(${JSON.stringify(url)})
      await FsBlobStore.open({ dataDir: ${JSON.stringify(dir.path)}, maxBytes: 1 }).catch((error) => console.log(error.code))`
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
    assert.equal((await child.stdout.toArray()).join('').trim(), 'STORE_BUSY')
  })

  test('may lose its index: no blob is lost, maps are computed again', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    {
      await using store = await openStore(dir)
      await addBlob(store, blob)
    }
    await rm(join(dir.path, 'index'), { recursive: true })
    await using store = await openStore(dir)
    await using reader = await store.open(blob.digest)
    assert.equal(Buffer.compare((await reader?.map()) ?? new Uint8Array(), blob.map), 0)
  })

  test('may have its index damaged', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    {
      await using store = await openStore(dir)
      await addBlob(store, blob)
    }
    const damages: Record<string, (path: string) => Promise<void>> = {
      CURRENT: (path) => writeFile(path, 'garbage'),
      MANIFEST: (path) => rm(path),
      ldb: async (path) => writeFile(path, Buffer.alloc((await stat(path)).size, 1))
    }
    for (const [kind, damage] of Object.entries(damages)) {
      // The second opening moves what the first one wrote from the log into a table.
      for (let i = 0; i < 2; i++) await (await openStore(dir))[Symbol.asyncDispose]()
      const names = (await readdir(join(dir.path, 'index'))).filter((name) => name.includes(kind))
      assert.ok(names.length > 0)
      for (const name of names) await damage(join(dir.path, 'index', name))
      await using store = await openStore(dir)
      await using reader = await store.open(blob.digest)
      assert.equal(Buffer.compare((await reader?.map()) ?? new Uint8Array(), blob.map), 0)
    }
  })

  test('is let go of whole: no descriptor stays open, whatever was under way', async () => {
    await using dir = await TempDir.make()
    const open = async (): Promise<string[]> => (await readdir('/proc/self/fd')).sort()
    const before = await open()
    const store = await openStore(dir)
    const blob = fixtureBlob(SIZE)
    await addBlob(store, fixtureBlob(COMMITTED))
    const partial = await store.begin(blob.digest, blob.layout)
    const waiting = assert.rejects(readAll(partial), (error) => isLayerswarmError(error, 'STORE_FAILED'))
    const writing = Promise.allSettled([0, 1, 2].map((piece) => partial.write(piece, blob.piece(piece))))
    await store[Symbol.asyncDispose]()
    await waiting
    await writing
    assert.deepEqual(await open(), before)
    await assert.rejects(partial.write(5, blob.piece(5)), (error) => isLayerswarmError(error, 'STORE_FAILED'))
    await partial[Symbol.asyncDispose]()
    assert.deepEqual(await open(), before)
  })

  test('that cannot be made is an error that says so', async () => {
    await using dir = await TempDir.make()
    await writeFile(join(dir.path, 'file'), '')
    const below = { path: join(dir.path, 'file', 'store') } as TempDir
    await assert.rejects(openStore(below), (error) => isLayerswarmError(error, 'STORE_FAILED'))
  })
})

test('what is left over is cleared, and blobs that were cut short', async () => {
  await using dir = await TempDir.make()
  const kept = fixtureBlob(COMMITTED)
  const cut = fixtureBlob(SIZE)
  {
    await using store = await openStore(dir)
    await addBlob(store, kept)
    await addBlob(store, cut)
  }
  await truncate(join(dir.path, 'blobs', 'sha256', hexOf(cut.digest)), 1000)
  await mkdir(join(dir.path, 'ingest', 'odd'))
  await writeFile(join(dir.path, 'ingest', 'x.tmp'), 'x')
  await copyFile(join(dir.path, 'oci-layout'), ingestPath(dir, cut.digest, 'data'))
  await writeFile(join(dir.path, 'blobs', 'sha256', 'not-a-digest'), 'kept: it is not ours')
  await using store = await openStore(dir)
  assert.deepEqual(
    (await Array.fromAsync(store.list())).map(({ digest }) => digest),
    [kept.digest]
  )
  assert.deepEqual(await readdir(join(dir.path, 'ingest')), [])
})

test('a blob that was removed behind our back is no longer held', async () => {
  await using dir = await TempDir.make()
  const blob = fixtureBlob(COMMITTED)
  {
    await using store = await openStore(dir)
    await addBlob(store, blob)
  }
  await using store = await openStore(dir)
  const changes = store.changes()[Symbol.asyncIterator]()
  await rm(join(dir.path, 'blobs', 'sha256', hexOf(blob.digest)))
  assert.equal(await store.open(blob.digest), undefined)
  assert.equal((await changes.next()).value.change, 'removed')
  assert.equal(await store.stat(blob.digest), undefined)
  await addBlob(store, blob)
})

test('the record of a blob whose commit was cut off after its move goes', async () => {
  await using dir = await TempDir.make()
  const blob = fixtureBlob(COMMITTED)
  const side = ingestPath(dir, blob.digest, 'side')
  {
    await using store = await openStore(dir)
    {
      await using partial = await store.begin(blob.digest, blob.layout)
      await writeAll(partial, blob)
    }
    const record = await readFile(side)
    await using partial = await store.begin(blob.digest, blob.layout)
    await partial.commit()
    await writeFile(side, record)
  }
  await using store = await openStore(dir)
  assert.deepEqual(await readdir(join(dir.path, 'ingest')), [])
  assert.equal((await store.stat(blob.digest))?.state, 'complete')
})

test('claims that come during a commit or later leave nothing beside the blob', async () => {
  await using dir = await TempDir.make()
  const blob = fixtureBlob(SIZE)
  {
    await using store = await openStore(dir)
    await using partial = await store.begin(blob.digest, blob.layout)
    await writeAll(partial, blob)
    const committing = partial.commit()
    partial.addClaims([claimOf(blob, 'early')])
    await committing
    partial.addClaims([claimOf(blob, 'late')])
    assert.deepEqual(partial.claims(), [])
  }
  assert.deepEqual(await readdir(join(dir.path, 'ingest')), [])
})
