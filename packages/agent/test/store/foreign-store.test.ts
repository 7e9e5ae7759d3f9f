import assert from 'node:assert/strict'
import { rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { BlobStore, HoldingChange } from '@layerswarm/agent/ports.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob, equal, fails, readAll, SEVERAL } from '@layerswarm/testkit/blob-steps.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import pino from 'pino'
import { ForeignStore } from '../../src/store/foreign-store.ts'
import { HashThread } from '../../src/store/hash-thread.ts'
import { IndexDb } from '../../src/store/index-db.ts'
import { ForeignFolder } from './foreign-folder.ts'
import { openStore, TempDir } from './temp-store.ts'

const log = pino({ level: 'silent' })
const [small, large] = [fixtureBlob(1000), fixtureBlob(SEVERAL)]

/** Flips one bit of it. */
function rotten(bytes: Uint8Array): Uint8Array {
  const copy = Buffer.from(bytes)
  copy[copy.byteLength - 1] = (copy.at(-1) ?? 0) ^ 1
  return copy
}

/** A folder of another program, and the store that reads it. */
async function openBeside() {
  await using parts = new AsyncDisposableStack()
  const dir = parts.use(await TempDir.make())
  const folder = parts.use(await ForeignFolder.make())
  const own = parts.use(await openStore(dir))
  const store = parts.use(own.foreign({ clock: new ManualClock(), log }))
  const opened = parts.move()
  return { folder, own, store, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

async function next(changes: AsyncIterator<HoldingChange>): Promise<string> {
  const { value } = await changes.next()
  return `${value.change} ${value.digest}`
}

async function digests(store: Pick<BlobStore, 'list'>): Promise<string[]> {
  return (await Array.fromAsync(store.list())).map(({ digest }) => digest)
}

test('what another program holds is read where it lies, once it is proven, the small first', async () => {
  await using beside = await openBeside()
  const { folder, own, store } = beside
  const changes = store.changes()[Symbol.asyncIterator]()
  await folder.add(large)
  await folder.add(small)
  store.update(folder)
  assert.equal(await store.open(large.digest), undefined)
  assert.deepEqual([await next(changes), await next(changes)], [`added ${small.digest}`, `added ${large.digest}`])
  await using reader = await store.open(large.digest)
  assert.ok(reader?.complete)
  equal(await readAll(reader), large.bytes)
  equal(await reader.map(), large.map)
  equal(await reader.piece(1), large.piece(1))
  assert.equal(await store.verify(small.digest), true)
  assert.deepEqual(await digests(own), [])
})

test('a corrupt blob is never offered, and not hashed again by the next process', async () => {
  await using dir = await TempDir.make()
  await using folder = await ForeignFolder.make()
  await folder.add(small)
  await folder.add(large, { bytes: rotten(large.bytes) })
  const none = { proves: async () => assert.fail('hashed again'), pieces: async () => assert.fail('hashed again') }
  for (const again of [false, true]) {
    await using thread = new HashThread()
    await using db = await IndexDb.open(join(dir.path, 'index'))
    const map = async () => assert.fail('no map is asked for')
    await using store = new ForeignStore({ hashes: again ? none : thread, db, map, clock: new ManualClock(), log })
    store.update(folder)
    await store.proven()
    assert.deepEqual(await digests(store), [small.digest])
    assert.equal(await store.open(large.digest), undefined)
    assert.equal(store.usage().corrupt.blobs, 1)
  }
})

test('a file that changed since it was proven is withdrawn when it is asked for, and proven anew', async () => {
  await using beside = await openBeside()
  const { folder, store } = beside
  const path = await folder.add(large)
  store.update(folder)
  const changes = store.changes()[Symbol.asyncIterator]()
  assert.equal(await next(changes), `added ${large.digest}`)
  await writeFile(path, rotten(large.bytes))
  assert.equal(await store.open(large.digest), undefined)
  assert.equal(await next(changes), `removed ${large.digest}`)
  await store.proven()
  assert.equal(store.usage().corrupt.blobs, 1)
  // The owner mends it: another file in its place, which it need not have told in between.
  await writeFile(`${path}.new`, large.bytes)
  await rename(`${path}.new`, path)
  store.update(folder)
  assert.equal(await next(changes), `added ${large.digest}`)
})

test('a symbolic link is no blob, and one in the place of a file withdraws it', async () => {
  await using beside = await openBeside()
  const { folder, store } = beside
  const paths = [await folder.add(small), await folder.add(large)]
  const replace = async (path = '') => {
    await rename(path, `${path}.away`)
    await symlink(`${path}.away`, path)
  }
  await replace(paths[0])
  store.update(folder)
  await store.proven()
  assert.deepEqual(await digests(store), [large.digest])
  await replace(paths[1])
  assert.equal(await store.open(large.digest), undefined)
  assert.deepEqual(await digests(store), [])
})

test('what is kept is what is there as it was proven, whatever its owner said last', async () => {
  await using beside = await openBeside()
  const { folder, store } = beside
  const path = await folder.add(large)
  await folder.add(small, { kept: false })
  store.update(folder)
  assert.equal(await store.keeps(large.digest), false)
  await store.proven()
  assert.equal(await store.keeps(large.digest), true)
  assert.equal(await store.keeps(small.digest), false)
  await rm(path)
  assert.equal(await store.keeps(large.digest), false)
  assert.deepEqual(await digests(store), [small.digest])
})

test("a map outlives the store's own copy of a blob that is elsewhere too", async () => {
  await using dir = await TempDir.make()
  await using folder = await ForeignFolder.make()
  await folder.add(large)
  {
    await using own = await openStore(dir)
    await addBlob(own, small)
    await addBlob(own, large)
    await using store = own.foreign({ clock: new ManualClock(), log })
    store.update(folder)
    await store.proven()
    for (const { digest } of [small, large]) assert.ok(await own.delete(digest))
  }
  await using db = await IndexDb.open(join(dir.path, 'index'))
  equal(await db.map(large.digest), large.map)
  assert.equal(await db.map(small.digest), undefined)
  assert.deepEqual([...(await db.facts()).keys()], [])
})

test('nothing of a blob that went is left in the index', async () => {
  await using dir = await TempDir.make()
  await using folder = await ForeignFolder.make()
  await folder.add(small)
  await folder.add(large)
  {
    await using own = await openStore(dir)
    await addBlob(own, small)
    await using store = own.foreign({ clock: new ManualClock(), log })
    store.update(folder)
    await store.proven()
    for (const { digest } of [small, large]) {
      await using reader = await store.open(digest)
      await reader?.map()
    }
    store.update({ files: new Map() })
  }
  await using db = await IndexDb.open(join(dir.path, 'index'))
  assert.deepEqual([...(await db.proofs()).keys()], [])
  assert.equal(await db.map(large.digest), undefined)
  // The store has that one itself.
  equal(await db.map(small.digest), small.map)
})

test('a file that is told to be written to is withdrawn before anybody asks, unless it is as it was', async () => {
  await using beside = await openBeside()
  const { folder, store } = beside
  await folder.add(small)
  const path = await folder.add(large)
  store.update(folder)
  const changes = store.changes()[Symbol.asyncIterator]()
  assert.deepEqual([await next(changes), await next(changes)], [`added ${small.digest}`, `added ${large.digest}`])
  await writeFile(path, rotten(large.bytes))
  store.update({ ...folder, touched: new Set([small.digest, large.digest]) })
  assert.equal(await next(changes), `removed ${large.digest}`)
  await store.proven()
  assert.deepEqual(await digests(store), [small.digest])
})

test('a blob that turns out corrupt when it is verified stops whoever reads it', async () => {
  await using beside = await openBeside()
  const { folder, store } = beside
  const path = await folder.add(large)
  store.update(folder)
  await store.proven()
  await using reader = await store.open(large.digest)
  assert.ok(reader)
  const bytes = reader.read({ start: 0, end: large.layout.size })[Symbol.asyncIterator]()
  await bytes.next()
  await writeFile(path, rotten(large.bytes))
  assert.equal(await store.verify(large.digest), false)
  assert.equal(await reader.piece(0), undefined)
  await assert.rejects(readAll(reader), fails('DIGEST_MISMATCH'))
  await assert.rejects(async () => {
    while ((await bytes.next()).done !== true);
  }, fails('DIGEST_MISMATCH'))
  assert.equal(await store.stat(large.digest), undefined)
})

test('a map is of the file that was proven, or there is none', async () => {
  await using beside = await openBeside()
  const { folder, store } = beside
  const path = await folder.add(large)
  store.update(folder)
  await store.proven()
  await using reader = await store.open(large.digest)
  await writeFile(path, rotten(large.bytes))
  await assert.rejects(reader?.map() ?? Promise.resolve(), fails('STORE_FAILED'))
  await writeFile(path, large.bytes)
  assert.equal(await store.open(large.digest), undefined)
  await store.proven()
  await using again = await store.open(large.digest)
  equal(await again?.map(), large.map)
})

test('what is dropped is offered no longer, and whoever reads it finishes', async () => {
  await using beside = await openBeside()
  const { folder, store } = beside
  const path = await folder.add(large)
  store.update(folder)
  const changes = store.changes()[Symbol.asyncIterator]()
  await next(changes)
  await using reader = await store.open(large.digest)
  assert.ok(reader)
  await rm(path)
  store.update({ files: new Map() })
  assert.equal(await next(changes), `removed ${large.digest}`)
  assert.equal(await store.stat(large.digest), undefined)
  equal(await readAll(reader), large.bytes)
})

test('a file that went before its owner said so is no longer there', async () => {
  await using beside = await openBeside()
  const { folder, store } = beside
  const path = await folder.add(small)
  store.update(folder)
  await store.proven()
  await rm(path)
  assert.equal(await store.open(small.digest), undefined)
  assert.deepEqual(await digests(store), [])
})

test('a blob that somebody waits for is hashed before others and without rest, and how far it is is told', async () => {
  await using dir = await TempDir.make()
  await using folder = await ForeignFolder.make()
  await folder.add(small)
  await folder.add(large)
  const clock = new ManualClock()
  const hashed: string[] = []
  const proves: HashThread['proves'] = async (_path, digest, size, { onProgress } = {}) => {
    hashed.push(digest)
    for (const part of [1, 2]) {
      await clock.advance(100)
      await onProgress?.((size * part) / 2)
    }
    return true
  }
  await using db = await IndexDb.open(join(dir.path, 'index'))
  const nobody = async () => assert.fail('no map is asked for')
  await using store = new ForeignStore({ hashes: { proves, pieces: nobody }, db, map: nobody, clock, log })
  store.update(folder)
  while (clock.sleeping === 0) await new Promise(setImmediate)
  const told: number[] = []
  assert.equal(await store.prove(large.digest, { onProgress: (bytes) => told.push(bytes) }), true)
  assert.deepEqual(
    [hashed, told],
    [
      [small.digest, large.digest],
      [SEVERAL / 2, SEVERAL]
    ]
  )
  assert.deepEqual([store.has(large.digest), store.has(small.digest)], [true, false])
  const given = store.prove(small.digest, { signal: AbortSignal.abort(new Error('enough')) })
  await assert.rejects(given, /enough/)
  const both = Promise.all([store.prove(small.digest), store.proven()])
  await clock.advance(1000)
  assert.equal((await both)[0], true)
  assert.equal(hashed.length, 2)
  assert.equal(await store.prove(fixtureBlob(7).digest), undefined)
})

test('a blob that is waited for and is corrupt is told as such', async () => {
  await using beside = await openBeside()
  const { folder, store } = beside
  await folder.add(large, { bytes: rotten(large.bytes) })
  store.update(folder)
  assert.equal(await store.prove(large.digest), false)
  assert.equal(await store.prove(large.digest), false)
})
