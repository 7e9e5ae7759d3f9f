import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { openStore, TempDir } from './temp-store.ts'

function descriptorOf(size: number): Descriptor {
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: fixtureBlob(size).digest, size }
}

test('links and tags survive a restart, and are told apart by scope', async () => {
  await using dir = await TempDir.make()
  const [one, two] = [descriptorOf(1), descriptorOf(2)]
  const nginx = 'docker.io/library/nginx'
  {
    await using store = await openStore(dir, {}, { now: () => 4711 })
    await store.content.link(nginx, [one, two])
    await store.content.link(nginx, [one, two])
    await store.content.link('docker.io/library/nginx-more', [one])
    await store.content.link(nginx, [])
    await store.content.setTag(nginx, 'latest', one)
    await store.content.setTag(nginx, 'latest', two)
  }
  await using store = await openStore(dir)
  const { content } = store
  assert.deepEqual(await content.linked(nginx, one.digest), one)
  assert.equal(await content.linked('docker.io/library', one.digest), undefined)
  assert.equal(await content.linked('docker.io/library/nginx-more', two.digest), undefined)
  assert.deepEqual(await content.links(one.digest), [
    { scope: nginx, descriptor: one },
    { scope: 'docker.io/library/nginx-more', descriptor: one }
  ])
  assert.deepEqual(await content.links(descriptorOf(3).digest), [])
  assert.deepEqual(await content.tag(nginx, 'latest'), { descriptor: two, at: 4711 })
  assert.equal(await content.tag(nginx, 'late'), undefined)
})

test('a closed index says so', async () => {
  await using dir = await TempDir.make()
  const store = await openStore(dir)
  await store[Symbol.asyncDispose]()
  await assert.rejects(store.content.tag('a/b', 'c'), (error) => isLayerswarmError(error, 'STORE_FAILED'))
})
