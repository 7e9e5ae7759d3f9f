import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { readAll, writeAll } from '@layerswarm/testkit/blob-steps.ts'
import { openStore, TempDir } from './temp-store.ts'

test('what was hashed ahead is hashed again when one of its pieces is replaced', async () => {
  await using dir = await TempDir.make()
  await using store = await openStore(dir)
  // Large enough for the whole to be hashed behind the frontier long before the last piece.
  const blob = fixtureBlob(12 * 1024 * 1024)
  await using partial = await store.begin(blob.digest, blob.layout)
  await partial.write(1, blob.piece(2))
  await writeAll(partial, blob)
  await partial.discard([1])
  await writeAll(partial, blob)
  await partial.commit()
  assert.equal(Buffer.compare(await readAll(partial), blob.bytes), 0)
})

test('a piece that is discarded while it is read is not given out', async () => {
  await using dir = await TempDir.make()
  await using store = await openStore(dir)
  const blob = fixtureBlob(3 * 256 * 1024)
  await using partial = await store.begin(blob.digest, blob.layout)
  await writeAll(partial, blob, [0, 1])
  const [read] = await Promise.all([partial.piece(0), partial.discard([0])])
  assert.ok(read === undefined)
  assert.ok(await partial.piece(1))
})
