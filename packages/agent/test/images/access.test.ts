import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import type { ContentRef } from '../../src/ports.ts'
import { ImagesFixture, LAYER, REPOSITORY, SCOPE } from './images-fixture.ts'

const LINUX = { os: 'linux', architecture: 'amd64' }
const DIGEST = `sha256:${'7'.repeat(64)}` as ContentRef['digest']

test('what a manifest names may be asked for without asking anybody', async () => {
  const fixture = new ImagesFixture()
  const manifest = fixture.manifest(LINUX, ['a layer'], { tag: '1' })
  const { manifest: read } = await fixture.images.manifest(
    await fixture.images.find({ ...REPOSITORY, digest: manifest.digest, kind: 'manifest' })
  )
  const asked = fixture.registry.calls.length
  for (const { digest, size } of [...read.layers, ...(read.config === undefined ? [] : [read.config])]) {
    const found = await fixture.images.find({ ...REPOSITORY, digest, kind: 'blob' })
    assert.deepEqual([found.descriptor.size, found.origin], [size, 'local'])
  }
  assert.equal(fixture.registry.calls.length, asked)
})

test('what the fleet knows under the repository needs no registry', async () => {
  const { images, content, registry } = new ImagesFixture()
  content.fleet.set(`${SCOPE}@${DIGEST}`, { size: 5, mediaType: LAYER })
  registry.error = new LayerswarmError('REGISTRY_UNREACHABLE')
  const found = await images.find({ ...REPOSITORY, digest: DIGEST, kind: 'blob' })
  assert.deepEqual([found.descriptor.size, found.origin], [5, 'peer'])
  await assert.rejects(images.find({ ...REPOSITORY, repository: 'library/other', digest: DIGEST, kind: 'blob' }), {
    code: 'REGISTRY_UNREACHABLE'
  })
})

test('a fleet that cannot be asked, or does not answer, is not waited for', async () => {
  const { images, content, registry, clock } = new ImagesFixture()
  const layer = registry.put(SCOPE, 'blob', Buffer.from('layer'))
  content.lookupError = new LayerswarmError('TRACKER_UNREACHABLE')
  assert.equal((await images.find({ ...REPOSITORY, digest: layer.digest, kind: 'blob' })).origin, 'registry')
  content.lookupError = undefined
  content.lookup = () => new Promise(() => undefined)
  const other = registry.put(SCOPE, 'blob', Buffer.from('other'))
  const found = images.find({ ...REPOSITORY, digest: other.digest, kind: 'blob' })
  await clock.advance(500)
  assert.equal((await found).origin, 'registry')
})

test('the registry is asked once, its yes is recorded, its no is a miss', async () => {
  const { images, index, registry } = new ImagesFixture()
  const layer = registry.put(SCOPE, 'blob', Buffer.from('layer'))
  const ref = { ...REPOSITORY, digest: layer.digest, kind: 'blob' } as const
  await Promise.all([images.find(ref), images.find(ref)])
  await images.find(ref)
  assert.equal(registry.calls.length, 1)
  assert.equal((await index.linked(SCOPE, layer.digest))?.size, 5)
  await assert.rejects(images.find({ ...ref, digest: DIGEST }), { code: 'BLOB_UNKNOWN' })
  await assert.rejects(images.find({ ...ref, digest: DIGEST, kind: 'manifest' }), { code: 'MANIFEST_UNKNOWN' })
})

test('a manifest known anywhere is no blob, even where the registry would say so', async () => {
  const { images, index, registry } = new ImagesFixture()
  const bytes = Buffer.from('{}')
  const blob = registry.put(SCOPE, 'blob', bytes)
  await index.link('docker.io/library/elsewhere', [{ ...blob, mediaType: MEDIA_TYPES.ociManifest }])
  await assert.rejects(images.find({ ...REPOSITORY, digest: blob.digest, kind: 'blob' }), { code: 'BLOB_UNKNOWN' })
})

test('a blob that is said to be empty must have the digest of nothing', async () => {
  const { images, content } = new ImagesFixture()
  content.fleet.set(`${SCOPE}@${DIGEST}`, { size: 0 })
  const found = await images.find({ ...REPOSITORY, digest: DIGEST, kind: 'blob' })
  await assert.rejects(images.blob(found), { code: 'SIZE_MISMATCH' })
})
