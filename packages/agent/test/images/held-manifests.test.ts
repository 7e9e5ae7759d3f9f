import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { layoutOf } from '@layerswarm/core/piece-layout.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { HeldManifests } from '../../src/images/held-manifests.ts'

test('each manifest is read once, as far as the memory for that goes', async () => {
  await using store = new MemoryBlobStore()
  const documents = ['first', 'other'].map((name) => {
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [], annotations: { name } }
    const bytes = Buffer.from(JSON.stringify(index))
    return { bytes, digest: digestOf(bytes) }
  })
  const opened: string[] = []
  const open = store.open.bind(store)
  store.open = async (digest) => {
    opened.push(digest)
    return await open(digest)
  }
  for (const { bytes, digest } of documents) await store.add(digest, layoutOf(bytes.byteLength), bytes)
  const [first, other] = documents.map(({ digest }) => digest)
  const manifests = new HeldManifests(store, { maxKeptBytes: documents[0]?.bytes.byteLength ?? 0 })
  for (const { digest, bytes } of [...documents, ...documents]) {
    assert.deepEqual((await manifests.read(digest, MEDIA_TYPES.ociIndex))?.bytes, bytes)
  }
  assert.deepEqual(opened, [first, other, other])
})
