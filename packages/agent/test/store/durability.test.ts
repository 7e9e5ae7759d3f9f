import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, copyFile, mkdir, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import type { Claim } from '@layerswarm/core/claims.ts'
import { type Digest, hexOf } from '@layerswarm/core/digest.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { type FixtureBlob, fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob, readAll, writeAll } from '@layerswarm/testkit/blob-steps.ts'
import { openStore, TempDir } from './temp-store.ts'

const SIZE = 40 * 256 * 1024 + 9
const COMMITTED = 3 * 256 * 1024

function ingestPath(dir: TempDir, digest: Digest, kind: 'data' | 'side'): string {
  return join(dir.path, 'ingest', `${digest.replace(':', '-')}.${kind}`)
}

/** A store that was closed in the middle of a blob. */
async function leavePartial(dir: TempDir, blob: FixtureBlob, pieces: readonly number[], claims: readonly Claim[] = []): Promise<void> {
  await using store = await openStore(dir)
  await using partial = await store.begin(blob.digest, blob.layout)
  partial.addClaims(claims)
  await writeAll(partial, blob, pieces)
}

/** Opens it again, takes up the blob, and completes it. @returns the pieces that were still there */
async function resume(dir: TempDir, blob: FixtureBlob): Promise<number[]> {
  await using store = await openStore(dir)
  await using partial = await store.begin(blob.digest, blob.layout)
  const found = [...partial.have()]
  await writeAll(partial, blob)
  await partial.commit()
  assert.equal(Buffer.compare(await readAll(partial), blob.bytes), 0)
  return found
}

async function flipBit(path: string, offset: number): Promise<void> {
  await using file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, offset)
  byte[0] = (byte[0] ?? 0) ^ 1
  await file.write(byte, 0, 1, offset)
}

describe('after a kill', () => {
  test('every committed blob is there, and a partial one goes on with every piece that was reported', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    const script = new URL('./crash-writer.ts', import.meta.url).pathname
    const child = spawn(process.execPath, [script, dir.path, String(SIZE), String(COMMITTED)], { stdio: ['pipe', 'pipe', 'inherit'] })
    const exited = once(child, 'exit')
    const reported: number[] = []
    for await (const line of createInterface({ input: child.stdout })) {
      reported.push(Number(line))
      if (reported.length === 12) child.kill('SIGKILL')
    }
    assert.equal((await exited)[1], 'SIGKILL')
    assert.ok(reported.length >= 12)

    await using store = await openStore(dir)
    const committed = fixtureBlob(COMMITTED, { seed: 'committed' })
    await using reader = await store.open(committed.digest)
    assert.ok(reader)
    assert.equal(Buffer.compare(await readAll(reader), committed.bytes), 0)
    await using partial = await store.begin(blob.digest, blob.layout)
    for (const piece of reported) assert.ok(partial.have().has(piece), `piece ${piece} was lost`)
    await writeAll(partial, blob)
    await partial.commit()
    assert.equal(Buffer.compare(await readAll(partial), blob.bytes), 0)
  })

  test('claims are there again', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    const sig = new Uint8Array([7])
    const leased = { blob: blob.digest, run: 0, holder: 'host', serial: 1, by: 'tracker', sig }
    const bare: Claim = { blob: blob.digest, first: 8, hashes: blob.map.slice(256, 512), author: 'other', sig: new Uint8Array([8]) }
    const claims: Claim[] = [{ blob: blob.digest, first: 0, hashes: blob.map.slice(0, 256), author: 'host', lease: leased, sig }, bare]
    await leavePartial(dir, blob, [0], claims)
    await using store = await openStore(dir)
    await using partial = await store.begin(blob.digest, blob.layout)
    assert.deepEqual(
      partial.claims().map((claim) => [claim.author, claim.first, Buffer.from(claim.hashes), claim.lease?.serial]),
      claims.map((claim) => [claim.author, claim.first, Buffer.from(claim.hashes), claim.lease?.serial])
    )
  })

  test('what was discarded stays forgotten', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    {
      await using store = await openStore(dir)
      await using partial = await store.begin(blob.digest, blob.layout)
      await writeAll(partial, blob, [0, 1, 2, 3])
      await partial.discard([1, 2])
      await writeAll(partial, blob, [2])
    }
    assert.deepEqual(await resume(dir, blob), [0, 2, 3])
  })
})

describe('damage to a partial blob', () => {
  test('a flipped bit costs its piece, and no other', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1, 2, 5])
    await flipBit(ingestPath(dir, blob.digest, 'data'), blob.layout.pieceSize + 1000)
    assert.deepEqual(await resume(dir, blob), [0, 2, 5])
  })

  test('a flipped bit in a blob of one piece is found before commit', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(5000)
    await leavePartial(dir, blob, [0])
    await flipBit(ingestPath(dir, blob.digest, 'data'), 17)
    assert.deepEqual(await resume(dir, blob), [])
  })

  test('a data file that lost its end costs what it lost', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1, 2])
    await truncate(ingestPath(dir, blob.digest, 'data'), 2 * blob.layout.pieceSize + 10)
    assert.deepEqual(await resume(dir, blob), [0, 1])
  })

  test('a missing data file costs everything, quietly', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1, 2])
    await rm(ingestPath(dir, blob.digest, 'data'))
    assert.deepEqual(await resume(dir, blob), [])
  })

  test('a record cut anywhere costs the records behind the cut, and new ones are read after it', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1, 2])
    const side = ingestPath(dir, blob.digest, 'side')
    const whole = await readFile(side)
    for (const cut of [1, 20, 44]) {
      await writeFile(side, whole.subarray(0, -cut))
      await leavePartial(dir, blob, [7])
      await using store = await openStore(dir)
      await using partial = await store.begin(blob.digest, blob.layout)
      assert.deepEqual([...partial.have()], [0, 1, 7])
    }
  })

  test('garbage behind the records, or instead of them, is ignored', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1])
    const side = ingestPath(dir, blob.digest, 'side')
    await appendFile(side, Buffer.alloc(300, 0xee))
    await leavePartial(dir, blob, [2])
    await flipBit(side, 3)
    assert.deepEqual(await resume(dir, blob), [])
  })

  test('a blob that turns out to have another size starts anew', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, fixtureBlob(SIZE), [0, 1])
    const longer = { ...blob.layout, size: SIZE + 1 }
    await using store = await openStore(dir)
    await using partial = await store.begin(blob.digest, longer)
    assert.equal(partial.have().count, 0)
  })
})

describe('the data directory', () => {
  test('is an OCI image layout', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(COMMITTED)
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

  test('is cleared of what is left over, and of blobs that were cut short', async () => {
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

  test('may lose a blob behind our back: it is no longer held', async () => {
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

  test('does not keep the record of a blob whose commit was cut off after its move', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(COMMITTED)
    {
      await using store = await openStore(dir)
      await using partial = await store.begin(blob.digest, blob.layout)
      await writeAll(partial, blob)
      const side = ingestPath(dir, blob.digest, 'side')
      const record = await readFile(side)
      await partial.commit()
      await writeFile(side, record)
    }
    await using store = await openStore(dir)
    assert.deepEqual(await readdir(join(dir.path, 'ingest')), [])
    assert.equal((await store.stat(blob.digest))?.state, 'complete')
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
