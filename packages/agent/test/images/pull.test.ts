import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { parsePlatform } from '@layerswarm/core/image/platform.ts'
import type { PullProgress } from '../../src/ports.ts'
import { ImagesFixture, SCOPE } from './images-fixture.ts'

const AMD = { os: 'linux', architecture: 'amd64' }
const ARM = { os: 'linux', architecture: 'arm64' }
const NOWHERE = { os: 'unknown', architecture: 'unknown' }
const onAmd = { platforms: [AMD] }

function opened(fixture: ImagesFixture): string[] {
  const texts = fixture.content.opened.map(({ digest }) => Buffer.from(fixture.content.blobs.get(digest) ?? []).toString())
  return texts.filter((text) => text.startsWith('layer'))
}

/** An index of two platforms and an attestation. */
function published(): { fixture: ImagesFixture; root: Descriptor; amd: Descriptor } {
  const fixture = new ImagesFixture()
  const amd = fixture.manifest(AMD, ['layer shared', 'layer amd', 'layer amd'])
  const arm = fixture.manifest(ARM, ['layer shared', 'layer arm'])
  const attestation = fixture.manifest(NOWHERE, ['layer attested'])
  const root = fixture.indexOf(
    [
      { ...arm, platform: ARM },
      { ...amd, platform: AMD },
      { ...attestation, platform: NOWHERE }
    ],
    '1'
  )
  return { fixture, root, amd }
}

test('all manifests are fetched, the layers of one platform, each once', async () => {
  const { fixture, root } = published()
  const progress: PullProgress[] = []
  const summary = await fixture.images.pull('app:1', { ...onAmd, onProgress: (step) => progress.push(step) })
  assert.deepEqual(opened(fixture).sort(), ['layer amd', 'layer shared'])
  assert.deepEqual(
    [summary.image, summary.digest, summary.manifests, summary.blobs, summary.skipped, summary.stale],
    ['docker.io/library/app:1', root.digest, 4, 3, 0, false]
  )
  assert.equal(summary.counts.local, summary.bytes)
  const done = progress.filter((step) => step.done)
  assert.equal(new Set(done.map(({ digest }) => digest)).size, 3)
  for (const { size, counts } of done) assert.equal(counts.local, size)
  assert.equal(fixture.content.expected[0]?.scope, SCOPE)
  assert.equal(fixture.content.held, 0)
  assert.equal(fixture.clock.sleeping, 0)
})

test('other platforms by name, or all of them', async () => {
  const { fixture } = published()
  await fixture.images.pull('app:1', { platforms: [parsePlatform('linux/arm64/v8')] })
  assert.deepEqual(opened(fixture).sort(), ['layer arm', 'layer shared'])
  await fixture.images.pull('app:1', { platforms: 'all' })
  assert.equal(new Set(opened(fixture)).size, 4)
})

test('a platform that the image is not made for is told, with those that it is', async () => {
  const { fixture } = published()
  await assert.rejects(fixture.images.pull('app:1', { platforms: [parsePlatform('linux/s390x')] }), {
    code: 'PLATFORM_UNKNOWN',
    detail: 'linux/s390x; the image offers linux/arm64, linux/amd64'
  })
})

test('by digest no tag is asked for; a single manifest is taken whatever its platform', async () => {
  const { fixture } = published()
  const single = fixture.manifest(ARM, ['layer single'])
  const summary = await fixture.images.pull(`app@${single.digest}`, onAmd)
  assert.equal(summary.digest, single.digest)
  assert.deepEqual(opened(fixture), ['layer single'])
  assert.ok(!fixture.registry.calls.some((call) => call.includes('app:')))
})

test('where the index tells no platform, the configuration does', async () => {
  const fixture = new ImagesFixture()
  const manifests = [fixture.manifest(ARM, ['layer arm']), fixture.manifest(AMD, ['layer amd'])]
  fixture.indexOf(manifests, '1')
  await fixture.images.pull('app:1', onAmd)
  assert.deepEqual(opened(fixture), ['layer amd'])
})

test('an artifact is made for no platform: all of it is taken, its configurations unread', async () => {
  const fixture = new ImagesFixture()
  const config = fixture.put('blob', `layer of a configuration ${'x'.repeat(5_000_000)}`, 'application/vnd.example.model+json')
  const weights = ['layer one', 'layer two'].map((text) => fixture.put('blob', text, 'application/vnd.example.weights'))
  const manifests = weights.map((layer) => {
    const document = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      artifactType: 'application/vnd.example.model',
      config,
      layers: [layer]
    }
    return fixture.put('manifest', JSON.stringify(document), MEDIA_TYPES.ociManifest)
  })
  fixture.indexOf(manifests, '1')
  const { manifests: taken, blobs } = await fixture.images.pull('app:1')
  assert.deepEqual([taken, blobs], [3, 3])
  assert.deepEqual(fixture.content.opened.filter(({ digest }) => digest === config.digest).length, 1)
})

test('an index within an index is followed, an endless one is not', async () => {
  const fixture = new ImagesFixture()
  fixture.indexOf([fixture.indexOf([{ ...fixture.manifest(AMD, ['layer deep']), platform: AMD }])], '1')
  await fixture.images.pull('app:1', onAmd)
  assert.deepEqual(opened(fixture), ['layer deep'])
  let deep = fixture.manifest(AMD, ['layer deeper'])
  for (let depth = 0; depth < 10; depth++) deep = fixture.indexOf([deep], 'deep')
  await assert.rejects(fixture.images.pull('app:deep', onAmd), { code: 'MANIFEST_INVALID' })
})

test('a sparse copy lacks other platforms, which matters only when they are wanted', async () => {
  const { fixture } = published()
  const absent = { ...fixture.manifest(ARM, ['layer absent']), digest: `sha256:${'9'.repeat(64)}` as Descriptor['digest'], platform: ARM }
  fixture.indexOf([absent, { ...fixture.manifest(AMD, ['layer amd']), platform: AMD }], 'sparse')
  assert.equal((await fixture.images.pull('app:sparse', onAmd)).manifests, 2)
  await assert.rejects(fixture.images.pull('app:sparse', { platforms: [ARM] }), { code: 'PLATFORM_UNKNOWN' })
})

test('foreign layers are left out, and counted', async () => {
  const fixture = new ImagesFixture()
  fixture.manifest(AMD, ['layer foreign'], { tag: '1', layerType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' })
  const summary = await fixture.images.pull('app:1', onAmd)
  assert.deepEqual([summary.blobs, summary.skipped], [1, 1])
  assert.deepEqual(opened(fixture), [])
})

test('a layer that cannot be had fails the pull and stops the others', async () => {
  const fixture = new ImagesFixture()
  fixture.manifest(AMD, ['layer 1', 'layer 2', 'layer 3'], { tag: '1' })
  const [slow, bad] = ['layer 1', 'layer 2'].map(
    (text) => [...fixture.content.blobs].find(([, bytes]) => Buffer.from(bytes).toString() === text)?.[0]
  )
  if (slow === undefined || bad === undefined) throw new Error('no such layers')
  fixture.content.faults.set(slow, { after: 0 })
  fixture.content.faults.set(bad, { after: 0, error: new LayerswarmError('DIGEST_MISMATCH') })
  await assert.rejects(fixture.images.pull('app:1', onAmd), { code: 'DIGEST_MISMATCH' })
  assert.equal(fixture.content.held, 0)
  assert.equal(fixture.clock.sleeping, 0)
})

test('a pull that is given up ends with its reason, and nothing stays open', async () => {
  const fixture = new ImagesFixture()
  fixture.manifest(AMD, ['layer 1'], { tag: '1' })
  for (const [digest, bytes] of fixture.content.blobs) {
    if (Buffer.from(bytes).toString() === 'layer 1') fixture.content.faults.set(digest, { after: 0 })
  }
  const stop = new AbortController()
  const seen: boolean[] = []
  const pulled = fixture.images.pull('app:1', { ...onAmd, signal: stop.signal, onProgress: ({ done }) => seen.push(done) })
  await fixture.clock.advance(1_000)
  assert.ok(seen.filter((done) => !done).length >= 4, 'progress is told while nothing moves')
  stop.abort(new Error('enough'))
  await assert.rejects(pulled, { message: 'enough' })
  assert.equal(fixture.content.held, 0)
})

test('a registry that is not configured is not asked', async () => {
  const fixture = new ImagesFixture()
  await assert.rejects(fixture.images.pull('quay.io/a/b'), { code: 'REGISTRY_NOT_ALLOWED' })
  assert.deepEqual(fixture.registry.calls, [])
})

test('a runtime that takes nothing is told before anything is asked for', async () => {
  const gone = new LayerswarmError('CONTAINERD_FAILED', { detail: 'gone' })
  const runtime = { ready: () => Promise.reject(gone), put: () => assert.fail('it was given an image') }
  for (const fixture of [new ImagesFixture({ runtime }), new ImagesFixture()]) {
    fixture.manifest(AMD, ['layer 1'], { tag: '1' })
    await assert.rejects(fixture.images.pull('app:1', { ...onAmd, containerd: 'default' }), { code: 'CONTAINERD_FAILED' })
    assert.deepEqual([fixture.registry.calls, fixture.content.opened], [[], []])
  }
})
