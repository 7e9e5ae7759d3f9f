import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob } from '@layerswarm/testkit/blob-steps.ts'
import { contentIndexConformance } from '@layerswarm/testkit/conformance/content-index.ts'
import { openStore, TempDir } from './temp-store.ts'

contentIndexConformance('level', async () => {
  await using parts = new AsyncDisposableStack()
  const store = parts.use(await openStore(parts.use(await TempDir.make())))
  const opened = parts.move()
  return { index: store.content, [Symbol.asyncDispose]: () => opened.disposeAsync() }
})

function descriptorOf(size: number): Descriptor {
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: fixtureBlob(size).digest, size }
}

test('links and tags survive a restart, and are told apart by scope', async () => {
  await using dir = await TempDir.make()
  const [one, two] = [descriptorOf(1), descriptorOf(2)]
  const nginx = 'docker.io/library/nginx'
  const at = Date.now() - 1000
  {
    await using store = await openStore(dir, {}, { now: () => at })
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
  assert.deepEqual(await content.tag(nginx, 'latest'), { descriptor: two, at })
  assert.equal(await content.tag(nginx, 'late'), undefined)
})

test('what nobody asked for in a month is forgotten at the next start, unless its content is here', async () => {
  await using dir = await TempDir.make()
  const day = 24 * 3600 * 1000
  const held = fixtureBlob(500)
  const here: Descriptor = { mediaType: 'application/octet-stream', digest: held.digest, size: 500 }
  const [old, confirmed] = [descriptorOf(1), descriptorOf(2)]
  let now = Date.now()
  {
    await using store = await openStore(dir, {}, { now: () => now })
    await addBlob(store, held)
    await store.content.link('a/b', [old, here, confirmed])
    await store.content.setTag('a/b', 'old', old)
    await store.content.setTag('a/b', 'here', here)
    now += 20 * day
    await store.content.link('a/b', [confirmed])
  }
  now += 11 * day
  await using store = await openStore(dir, {}, { now: () => now })
  const { content } = store
  assert.deepEqual(await Promise.all([old, here, confirmed].map(({ digest }) => content.linked('a/b', digest))), [
    undefined,
    here,
    confirmed
  ])
  assert.deepEqual(await content.links(old.digest), [])
  assert.equal(await content.tag('a/b', 'old'), undefined)
  assert.deepEqual((await content.tag('a/b', 'here'))?.descriptor, here)
})

test('a descriptor that says something else now replaces the old one', async () => {
  await using dir = await TempDir.make()
  await using store = await openStore(dir)
  const before = descriptorOf(1)
  const after = { ...before, mediaType: 'application/vnd.oci.image.config.v1+json' }
  await store.content.link('a/b', [before])
  await store.content.link('a/b', [after])
  assert.deepEqual(await store.content.linked('a/b', before.digest), after)
})

test('a closed index says so', async () => {
  await using dir = await TempDir.make()
  const store = await openStore(dir)
  await store[Symbol.asyncDispose]()
  await assert.rejects(store.content.tag('a/b', 'c'), (error) => isLayerswarmError(error, 'STORE_FAILED'))
})
