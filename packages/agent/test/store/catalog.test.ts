import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { equal, fails, SEVERAL } from '@layerswarm/testkit/blob-steps.ts'
import { Catalog } from '../../src/store/catalog.ts'
import { IndexDb } from '../../src/store/index-db.ts'
import { StoreFiles } from '../../src/store/store-files.ts'
import { TempDir } from './temp-store.ts'

test('a map is made once for all who ask at a time, and anew after a failure', async () => {
  await using dir = await TempDir.make()
  await using db = await IndexDb.open(join(dir.path, 'index'))
  const catalog = new Catalog({ files: new StoreFiles(dir.path), db, isElsewhere: () => false, now: () => 0, log: undefined })
  const { digest, layout, map } = fixtureBlob(SEVERAL)
  const failing = () => Promise.reject(new LayerswarmError('STORE_FAILED'))
  await assert.rejects(catalog.map(digest, layout, failing), fails('STORE_FAILED'))
  let made = 0
  const compute = async () => {
    made++
    return map
  }
  for (const given of await Promise.all([1, 2, 3].map(() => catalog.map(digest, layout, compute)))) equal(given, map)
  equal(await catalog.map(digest, layout, failing), map)
  assert.equal(made, 1)
})
