import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { test } from 'node:test'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob, SEVERAL } from '@layerswarm/testkit/blob-steps.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import pino from 'pino'
import { Ingested } from '../../src/store/ingested.ts'
import { ForeignFolder } from './foreign-folder.ts'
import { openStore, TempDir } from './temp-store.ts'

const log = pino({ level: 'silent' })

test('a copy goes once the other program keeps the same blob, and once nobody reads it', async () => {
  await using dir = await TempDir.make()
  await using folder = await ForeignFolder.make()
  await using store = await openStore(dir)
  const clock = new ManualClock()
  await using foreign = store.foreign({ clock, log })
  const [kept, passing, read, corrupt] = [1, 2, 3, 4].map((seed) => fixtureBlob(SEVERAL, { seed }))
  assert.ok(kept && passing && read && corrupt)
  for (const blob of [kept, passing, read, corrupt]) await addBlob(store, blob)
  await folder.add(kept)
  await folder.add(read)
  await folder.add(passing, { kept: false })
  await folder.add(corrupt, { bytes: new Uint8Array(corrupt.layout.size) })
  const stop = new AbortController()
  const removed = store.changes()[Symbol.asyncIterator]()
  const next = async () => {
    const { value } = await removed.next()
    return value?.change === 'removed' ? value.digest : undefined
  }
  const running = new Ingested({ store, foreign, clock, log }).run(stop.signal)
  const reader = await store.open(read.digest)
  foreign.update(folder)
  await foreign.proven()
  assert.equal(await next(), kept.digest)
  await reader?.[Symbol.asyncDispose]()
  const gone = next()
  await clock.advance(5_000)
  assert.equal(await gone, read.digest)
  assert.deepEqual((await Array.fromAsync(store.list())).map(({ digest }) => digest).sort(), [corrupt.digest, passing.digest].sort())
  stop.abort(new Error('enough'))
  await assert.rejects(running, /enough/)
})

test('no copy goes for one that has gone without a word', async () => {
  await using dir = await TempDir.make()
  await using folder = await ForeignFolder.make()
  await using store = await openStore(dir)
  const clock = new ManualClock()
  await using foreign = store.foreign({ clock, log })
  const [lost, kept] = [fixtureBlob(SEVERAL, { seed: 1 }), fixtureBlob(SEVERAL, { seed: 2 })]
  await addBlob(store, lost)
  await addBlob(store, kept)
  const path = await folder.add(lost)
  await folder.add(kept)
  foreign.update(folder)
  await foreign.proven()
  await rm(path)
  const stop = new AbortController()
  const removed = store.changes()[Symbol.asyncIterator]()
  const running = new Ingested({ store, foreign, clock, log }).run(stop.signal)
  assert.equal((await removed.next()).value?.digest, kept.digest)
  assert.equal((await store.stat(lost.digest))?.state, 'complete')
  stop.abort(new Error('enough'))
  await assert.rejects(running, /enough/)
})
