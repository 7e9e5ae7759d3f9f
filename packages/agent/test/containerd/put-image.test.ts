import assert from 'node:assert/strict'
import { test } from 'node:test'
import grpc from '@grpc/grpc-js'
import type { RuntimeContent } from '@layerswarm/agent/ports.ts'
import { type Clock, systemClock } from '@layerswarm/core/clock.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { MEDIA_TYPES, parseManifest } from '@layerswarm/core/image/manifest.ts'
import { fails } from '@layerswarm/testkit/blob-steps.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { buildImage } from '@layerswarm/testkit/oci-image.ts'
import { ContainerdImages } from '../../src/containerd/containerd-images.ts'
import { FakeContainerd } from './fake-containerd.ts'

const image = await buildImage({ index: true, layers: [{ seed: 'import', size: 3_000_000 }] })
const [layer] = image.layers
assert.ok(layer)
const content: RuntimeContent[] = [
  ...[...image.blobs].map(([digest, blob]) => ({ digest, size: blob.size, manifest: undefined, read: () => blob.open() })),
  ...image.manifests.map(({ descriptor, bytes }) => ({
    digest: descriptor.digest,
    size: bytes.byteLength,
    manifest: parseManifest(bytes, descriptor.mediaType),
    read: async function* () {
      yield bytes
    }
  }))
]
const wanted = { namespace: 'default', name: 'registry.example.com/team/app:1', root: image.root, content }

function importer(fake: FakeContainerd, clock: Clock = systemClock): ContainerdImages {
  return new ContainerdImages({ find: async () => ({ socket: fake.socket, content: undefined }), clock })
}

test('containerd gets what it lacks, held by a lease meanwhile and by labels from then on', async () => {
  await using fake = await FakeContainerd.start()
  const bytes = content.reduce((sum, { size }) => sum + size, 0)
  assert.deepEqual(await importer(fake).put(wanted), { blobs: content.length, bytes })
  assert.equal(fake.written, bytes)
  const there = fake.namespace('default')
  assert.deepEqual(there.images.get(wanted.name), {
    ...there.images.get(wanted.name),
    media_type: MEDIA_TYPES.ociIndex,
    digest: image.root.digest
  })
  assert.deepEqual(there.content.get(image.root.digest)?.labels, { 'containerd.io/gc.ref.content.m.0': image.manifest.digest })
  assert.deepEqual(there.content.get(image.manifest.digest)?.labels, {
    'containerd.io/gc.ref.content.config': image.config.digest,
    'containerd.io/gc.ref.content.l.0': layer.digest
  })
  assert.equal(fake.heldBy.size, 1)
  assert.equal(fake.leases.size, 0)

  // Again, and a label went: what is there is not sent, and kept anew.
  const manifest = there.content.get(image.manifest.digest)
  assert.ok(manifest)
  manifest.labels = {}
  assert.deepEqual(await importer(fake).put(wanted), { blobs: 0, bytes: 0 })
  assert.equal(fake.written, bytes)
  assert.equal(Object.keys(manifest.labels).length, 2)
})

test('images with a layer in common can be given at the same time', async () => {
  await using fake = await FakeContainerd.start()
  const names = ['one', 'two', 'three'].map((tag) => `registry.example.com/team/app:${tag}`)
  await Promise.all(names.map((name) => importer(fake).put({ ...wanted, name })))
  const { images, content: there } = fake.namespace('default')
  assert.deepEqual([...images.keys()].sort(), names.toSorted())
  assert.equal(there.size, content.length)
})

test('children that are not given are not kept by labels either', async () => {
  await using fake = await FakeContainerd.start()
  await importer(fake).put({ ...wanted, content: content.filter(({ digest }) => digest !== layer.digest) })
  assert.deepEqual(Object.keys(fake.namespace('default').content.get(image.manifest.digest)?.labels ?? {}), [
    'containerd.io/gc.ref.content.config'
  ])
})

test('a refusal, a missing containerd and an end to waiting leave no lease', async () => {
  await using fake = await FakeContainerd.start()
  fake.broken = grpc.status.RESOURCE_EXHAUSTED
  await assert.rejects(importer(fake).put(wanted), fails('CONTAINERD_FAILED'))
  assert.equal(fake.leases.size, 0)
  await assert.rejects(new ContainerdImages({ find: async () => undefined, clock: systemClock }).put(wanted), fails('CONTAINERD_FAILED'))
  fake.broken = undefined
  const stop = new AbortController()
  const endless: RuntimeContent = {
    digest: layer.digest,
    size: layer.size,
    manifest: undefined,
    read: async function* () {
      stop.abort(new Error('enough'))
      while (true) yield Buffer.alloc(1000)
    }
  }
  await assert.rejects(importer(fake).put({ ...wanted, content: [endless] }, { signal: stop.signal }), /enough/)
  assert.equal(fake.leases.size, 0)
  assert.equal(fake.namespace('default').images.size, 0)
})

test('whether it would take an image is known beforehand', async () => {
  await using fake = await FakeContainerd.start()
  await importer(fake).ready()
  await fake.stop()
  await assert.rejects(importer(fake).ready(), (error) => /cannot be used.*ENOENT/.test(describeError(error)))
  await assert.rejects(new ContainerdImages({ find: async () => undefined, clock: systemClock }).ready(), fails('CONTAINERD_FAILED'))
})

for (const [action, bound] of [
  ['STAT', 60_000],
  ['WRITE', 60_000],
  // Which includes what a slow disk needs for this blob.
  ['COMMIT', 61_000]
] as const) {
  test(`a containerd that hangs at a ${action} is waited for no longer than an answer may take`, async () => {
    await using fake = await FakeContainerd.start()
    const clock = new ManualClock()
    fake.silent = action
    const waiting = assert.rejects(importer(fake, clock).put(wanted), { code: 'CONTAINERD_FAILED', message: /given no answer for 6\d s/ })
    let ended = false
    void waiting.finally(() => {
      ended = true
    })
    await fake.silenced.promise
    await clock.advance(59_000)
    assert.equal(ended, false)
    await clock.advance(bound - 59_000)
    await waiting
    assert.equal(fake.leases.size, 0)
  })
}

test('content that comes slowly is waited for as long as it takes', async () => {
  await using fake = await FakeContainerd.start()
  const clock = new ManualClock()
  const bytes = Buffer.concat(await Array.fromAsync(image.blobs.get(layer.digest)?.open() ?? []))
  const slow: RuntimeContent = {
    digest: layer.digest,
    size: layer.size,
    manifest: undefined,
    read: async function* () {
      for (let at = 0; at < bytes.byteLength; at += 1_000_000) {
        await clock.advance(600_000)
        yield bytes.subarray(at, at + 1_000_000)
      }
    }
  }
  assert.deepEqual(await importer(fake, clock).put({ ...wanted, content: [slow] }), { blobs: 1, bytes: layer.size })
})
