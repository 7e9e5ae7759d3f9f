import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scopeOf } from '@layerswarm/core/image/reference.ts'
import { describeBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob } from '@layerswarm/testkit/blob-steps.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { MemoryContentIndex } from '@layerswarm/testkit/memory-content-index.ts'
import { buildImage } from '@layerswarm/testkit/oci-image.ts'
import pino from 'pino'
import { ForeignImages } from '../../src/images/foreign-images.ts'

const log = pino({ level: 'silent' })
const APP = { registry: 'registry.example.com', repository: 'team/app' }
const SCOPE = scopeOf(APP)
const built = await buildImage({ layers: [{ seed: 'foreign', size: 1000 }], attestation: true })
const [layer] = built.layers
assert.ok(layer)

test('what an image names belongs to its repository, as its manifests are proven one by one', async () => {
  await using store = new MemoryBlobStore()
  const index = new MemoryContentIndex()
  const images = new ForeignImages({ store, index, log })
  const stop = new AbortController()
  const following = images.follow({ signal: stop.signal })
  await images.update([{ scope: SCOPE, tag: '1', root: built.root }])
  assert.equal(await index.linked(SCOPE, built.root.digest), undefined)
  const linked = Promise.withResolvers<void>()
  const link = index.link.bind(index)
  index.link = async (scope, descriptors) => {
    await link(scope, descriptors)
    if (descriptors.some(({ digest }) => digest === layer.digest)) linked.resolve()
  }
  // The root comes last: nothing is known of the others before.
  for (const { bytes } of built.manifests) await addBlob(store, describeBlob(bytes))
  await linked.promise
  for (const { digest } of [built.root, built.manifest, built.config, layer])
    assert.equal((await index.linked(SCOPE, digest))?.digest, digest)
  stop.abort(new Error('enough'))
  await assert.rejects(following, /enough/)
})

test("its names are known as long as it is there, this host's own first", async () => {
  await using store = new MemoryBlobStore()
  const index = new MemoryContentIndex()
  const images = new ForeignImages({ store, index, log })
  const named = images.named()
  const tags = async () => (await Array.fromAsync(named.tags())).map(({ scope, tag, descriptor }) => [`${scope}:${tag}`, descriptor.digest])
  const [tagged, untagged] = [
    { scope: SCOPE, tag: '1', root: built.root },
    { scope: SCOPE, tag: undefined, root: built.root }
  ]
  await images.update([tagged, untagged])
  assert.deepEqual(await tags(), [[`${SCOPE}:1`, built.root.digest]])
  assert.equal((await named.tag(SCOPE, '1'))?.descriptor.digest, built.root.digest)
  await index.setTag(SCOPE, '1', built.manifest)
  assert.deepEqual(await tags(), [[`${SCOPE}:1`, built.manifest.digest]])
  assert.equal((await named.tag(SCOPE, '1'))?.descriptor.digest, built.manifest.digest)
  await images.update([{ ...tagged, tag: '2' }])
  assert.deepEqual(
    (await tags()).map(([name]) => name),
    [`${SCOPE}:1`, `${SCOPE}:2`]
  )
  await images.update([])
  assert.equal(await named.tag(SCOPE, '2'), undefined)
})
