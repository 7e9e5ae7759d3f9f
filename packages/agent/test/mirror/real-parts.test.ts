import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { systemClock } from '@layerswarm/core/clock.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { FetchingContentService } from '@layerswarm/testkit/fetching-content-service.ts'
import { buildImage } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { Images } from '../../src/images/image-service.ts'
import { Mirror } from '../../src/mirror/mirror.ts'
import { UndiciRegistryClient } from '../../src/registry/registry-client.ts'
import { FsBlobStore } from '../../src/store/fs-blob-store.ts'

/** A mirror with a real store, in front of a real client of a registry over HTTP. */
async function start(stack: AsyncDisposableStack) {
  const dataDir = await mkdtemp(join(tmpdir(), 'mirror-'))
  stack.defer(() => rm(dataDir, { recursive: true }))
  const origin = stack.use(await FakeRegistry.start())
  const log = createLogger({ level: 'silent' })
  const userAgent = 'layerswarm/test'
  const registry = stack.use(new UndiciRegistryClient({ log }, { registries: new Map([[origin.host, { insecure: true }]]), userAgent }))
  const store = stack.use(await FsBlobStore.open({ dataDir, maxBytes: 1e9 }))
  const content = stack.use(new FetchingContentService({ store, registry }))
  const images = new Images({ registry, index: store.content, content, clock: systemClock, log }, { staleTags: 'host' })
  const mirror = stack.use(new Mirror({ images, registry, clock: systemClock, log }))
  const { port } = await mirror.listen({ host: '127.0.0.1', port: 0 })
  const ask = async (path: string, headers: Record<string, string> = {}) => {
    const sent = request({
      host: '127.0.0.1',
      port,
      path: `/v2/team/app/${path}?ns=${encodeURIComponent(origin.host)}`,
      headers,
      agent: false
    })
    sent.end()
    const [response] = await once(sent, 'response')
    return { status: response.statusCode, headers: response.headers, body: await buffer(response) }
  }
  return { origin, images, ask }
}

test('an image comes from the registry once, then from the store, with the registry gone as well', async () => {
  await using stack = new AsyncDisposableStack()
  const { origin, ask } = await start(stack)
  const image = await buildImage({ layers: [{ seed: 'a', size: 3_000_000 }], attestation: true })
  await pushImage(image, origin.url, 'team/app', '1')
  const pull = async () => {
    const root = await ask('manifests/1')
    const sources = new Set([root.headers['x-layerswarm-source']])
    assert.equal(digestOf(root.body), image.root.digest)
    for (const { descriptor } of image.manifests)
      assert.equal(digestOf((await ask(`manifests/${descriptor.digest}`)).body), descriptor.digest)
    for (const { digest } of image.blobs.values()) {
      const [one, two] = await Promise.all([ask(`blobs/${digest}`), ask(`blobs/${digest}`, { range: 'bytes=10-' })])
      assert.equal(digestOf(one.body), digest)
      assert.deepEqual(two.body, one.body.subarray(10))
      sources.add(one.headers['x-layerswarm-source'])
    }
    return sources
  }
  assert.deepEqual(await pull(), new Set(['registry']))
  assert.deepEqual(await pull(), new Set(['local']))
  await origin.stop()
  assert.deepEqual(await pull(), new Set(['local']))
})

test('an image is pulled into the store by name', async () => {
  await using stack = new AsyncDisposableStack()
  const { origin, images } = await start(stack)
  const image = await buildImage({
    layers: [
      { seed: 'a', size: 600_000 },
      { seed: 'b', size: 0 }
    ],
    attestation: true
  })
  await pushImage(image, origin.url, 'team/app', '1')
  const first = await images.pull(`${origin.host}/team/app:1`)
  assert.equal(first.digest, image.root.digest)
  assert.ok(first.counts.registry >= first.bytes)
  const again = await images.pull(`${origin.host}/team/app:1`)
  assert.deepEqual([again.counts.registry, again.counts.local], [0, again.bytes])
})

test('another Layerswarm is not served: two mirrors would ask each other in a circle', async () => {
  await using stack = new AsyncDisposableStack()
  const { ask } = await start(stack)
  assert.equal((await ask('manifests/1', { 'user-agent': 'layerswarm/test' })).status, 404)
})
