import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { test } from 'node:test'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { buildImage, imageBytes } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { LocalHost } from './local-host.ts'

const SHARED = { seed: 'shared', size: 300_000 }

test('images by tag and by digest, how much of each is here, and what they share', async () => {
  await using host = await LocalHost.open()
  const { registry } = host
  const one = await buildImage({ layers: [SHARED, { seed: 'one', size: 1000 }], attestation: true })
  const two = await buildImage({ layers: [SHARED] })
  await pushImage(one, registry.url, 'team/app', '1')
  await pushImage(two, registry.url, 'team/app', '2')
  assert.deepEqual((await host.list()).images, [])
  await host.images.pull(`${registry.host}/team/app:1`)
  await host.images.pull(`${registry.host}/team/app@${two.root.digest}`)
  await host.images.resolve({ registry: registry.host, repository: 'team/app', tag: '2' })

  const { images, totals } = await host.list()
  assert.deepEqual(
    images.map(({ image, state, present, required }) => [image, state, present, required]),
    [
      [`${registry.host}/team/app:1`, 'complete', 3, 3],
      [`${registry.host}/team/app:2`, 'complete', 2, 2]
    ]
  )
  assert.equal(images[0]?.mediaType, MEDIA_TYPES.ociIndex)
  assert.equal(images[1]?.size, imageBytes(two))
  const [layer] = two.layers
  assert.ok(layer && totals)
  // Both configurations and the shared layer are there once, and the layer is named twice.
  assert.equal(totals.referenced - totals.bytes, layer.size)
  assert.deepEqual(totals.unused, { blobs: 0, bytes: 0 })

  const blobs = await Array.fromAsync(host.local.blobs())
  assert.deepEqual(blobs.find(({ digest }) => digest === layer.digest)?.images?.length, 2)
  assert.deepEqual(blobs.find(({ digest }) => digest === two.root.digest)?.images, [`${registry.host}/team/app:2`])
})

test('an image without a tag goes by its digest, one without its manifest is missing, one without a layer incomplete', async () => {
  await using host = await LocalHost.open()
  const { registry } = host
  const image = await buildImage({ layers: [SHARED, { seed: 'more', size: 1000 }], attestation: true })
  await pushImage(image, registry.url, 'team/app', '1')
  await registry.putManifest('team/app', '2', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] })), MEDIA_TYPES.ociIndex)
  await host.images.pull(`${registry.host}/team/app@${image.root.digest}`)
  await host.images.resolve({ registry: registry.host, repository: 'team/app', tag: '2' })
  await rm(host.blobPath(image.layers[1]?.digest ?? image.root.digest))
  // That a file is gone shows when somebody reads it.
  await host.check({ verify: true })
  const { images } = await host.list()
  assert.deepEqual(
    images.map(({ image: name, state, present, required }) => [name, state, present, required]),
    [
      [`${registry.host}/team/app:2`, 'missing', 0, undefined],
      [`${registry.host}/team/app@${image.root.digest}`, 'incomplete', 2, 3]
    ]
  )
})

test('an artifact of any type is an image like others, and platforms count where there are any', async () => {
  await using host = await LocalHost.open()
  const { registry } = host
  const weights = Buffer.from('weights')
  const config = { mediaType: 'application/vnd.example.model+json', digest: await registry.putBlob('models/a', Buffer.from('{}')), size: 2 }
  const layer = {
    mediaType: 'application/vnd.example.weights',
    digest: await registry.putBlob('models/a', weights),
    size: weights.byteLength
  }
  registry.putManifest('models/a', '1', Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [layer] })), MEDIA_TYPES.ociManifest)
  await host.images.pull(`${registry.host}/models/a:1`)
  const image = await buildImage({ layers: [SHARED], index: true, platform: { os: 'linux', architecture: 's390x' } })
  await pushImage(image, registry.url, 'team/app', '1')
  await host.images.pull(`${registry.host}/team/app:1`, { platforms: 'all' })
  for (const platforms of [undefined, 'all' as const, ['linux/s390x']]) {
    const { images } = await host.list(platforms)
    assert.deepEqual(
      images.map(({ state, present, required }) => [state, present, required]),
      [
        ['complete', 2, 2],
        ['complete', 2, 2]
      ]
    )
  }
})
