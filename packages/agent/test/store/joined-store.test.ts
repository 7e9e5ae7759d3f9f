import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { test } from 'node:test'
import type { HoldingChange } from '@layerswarm/agent/ports.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob, equal, readAll, SEVERAL } from '@layerswarm/testkit/blob-steps.ts'
import { blobStoreConformance } from '@layerswarm/testkit/conformance/blob-store.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import pino from 'pino'
import { JoinedStore } from '../../src/store/joined-store.ts'
import { ForeignFolder } from './foreign-folder.ts'
import { openStore, TempDir } from './temp-store.ts'

const log = pino({ level: 'silent' })

async function openJoined() {
  const dir = await TempDir.make()
  const folder = await ForeignFolder.make()
  const own = await openStore(dir)
  const foreign = own.foreign({ clock: new ManualClock(), log })
  const store = new JoinedStore(own, foreign)
  const close = store[Symbol.asyncDispose].bind(store)
  store[Symbol.asyncDispose] = async () => {
    await close()
    await Promise.all([dir[Symbol.asyncDispose](), folder[Symbol.asyncDispose]()])
  }
  return { store, own, foreign, folder }
}

blobStoreConformance('a store with nothing beside it', async () => (await openJoined()).store)

test('a blob is there as long as it is at one of both places', async () => {
  const { store, own, foreign, folder } = await openJoined()
  await using _store = store
  const blob = fixtureBlob(SEVERAL)
  const changes = store.changes()[Symbol.asyncIterator]()
  const next = async () => ((await changes.next()).value as HoldingChange).change
  await folder.add(blob)
  foreign.update(folder)
  assert.equal(await next(), 'added')
  assert.deepEqual((await store.stat(blob.digest))?.places, ['containerd'])
  {
    await using reader = await store.open(blob.digest)
    assert.ok(reader)
    equal(await readAll(reader), blob.bytes)
  }
  await addBlob(store, blob)
  assert.deepEqual([await next(), await next()], ['started', 'added'])
  assert.deepEqual(
    (await Array.fromAsync(store.list())).map(({ places }) => places),
    [['store', 'containerd']]
  )
  assert.equal(await own.delete(blob.digest), true)
  // It is still here, so nobody is told that it went.
  assert.equal(await next(), 'added')
  foreign.update({ files: new Map() })
  assert.equal(await next(), 'removed')
  assert.equal(await store.stat(blob.digest), undefined)
})

test('a blob is proven at each place, and what fails at one may be had from the other', async () => {
  const { store, foreign, folder } = await openJoined()
  await using _store = store
  const blob = fixtureBlob(SEVERAL)
  await addBlob(store, blob)
  const path = await folder.add(blob)
  foreign.update(folder)
  await foreign.proven()
  assert.equal(await store.verify(blob.digest), true)
  await rm(path)
  await folder.add(blob, { bytes: new Uint8Array(blob.layout.size) })
  assert.equal(await store.verify(blob.digest), false)
  assert.equal(foreign.usage().corrupt.blobs, 1)
  assert.equal((await store.stat(blob.digest))?.places, undefined)
  assert.equal(await store.verify(blob.digest), true)
})
