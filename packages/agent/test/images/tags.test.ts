import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { ImagesFixture, REPOSITORY, SCOPE } from './images-fixture.ts'

const TAG = { ...REPOSITORY, tag: '1' }
const LINUX = { os: 'linux', architecture: 'amd64' }

test('the registry is asked once for callers at the same time, and again after 30 s', async () => {
  const { images, registry, clock } = new ImagesFixture()
  registry.put(SCOPE, 'manifest', Buffer.from('one'), { tag: '1' })
  await Promise.all([images.resolve(TAG), images.resolve(TAG), images.resolve(TAG)])
  await clock.advance(29_999)
  await images.resolve(TAG)
  assert.equal(registry.calls.length, 1)
  const moved = registry.put(SCOPE, 'manifest', Buffer.from('two'), { tag: '1' })
  await clock.advance(1)
  assert.equal((await images.resolve(TAG)).descriptor.digest, moved.digest)
  assert.equal(registry.calls.length, 2)
})

test('a tag that this host has moved is asked for at once', async () => {
  const { images, registry } = new ImagesFixture()
  registry.put(SCOPE, 'manifest', Buffer.from('one'), { tag: '1' })
  await images.resolve(TAG)
  const moved = registry.put(SCOPE, 'manifest', Buffer.from('two'), { tag: '1' })
  images.moved(TAG)
  assert.equal((await images.resolve(TAG)).descriptor.digest, moved.digest)
})

test('a tag that is gone is gone, whatever this host remembers', async () => {
  const { images, registry, clock } = new ImagesFixture()
  registry.put(SCOPE, 'manifest', Buffer.from('one'), { tag: '1' })
  await images.resolve(TAG)
  registry.untag(SCOPE, '1')
  await clock.advance(30_000)
  await assert.rejects(images.resolve(TAG), { code: 'MANIFEST_UNKNOWN' })
})

for (const code of ['REGISTRY_UNREACHABLE', 'REGISTRY_FAILED', 'REGISTRY_BUSY'] as const) {
  test(`${code}: the last known digest, marked, and the registry again soon after`, async () => {
    const { images, registry, clock } = new ImagesFixture()
    const known = registry.put(SCOPE, 'manifest', Buffer.from('one'), { tag: '1' })
    await images.resolve(TAG)
    await clock.advance(30_000)
    registry.error = new LayerswarmError(code)
    const stale = await images.resolve(TAG)
    assert.equal(stale.descriptor.digest, known.digest)
    assert.ok(stale.staleSince !== undefined && stale.origin === 'local')
    registry.error = undefined
    await clock.advance(5_000)
    assert.equal((await images.resolve(TAG)).staleSince, undefined)
  })
}

test('a registry that hangs counts as unreachable after 2 s', async () => {
  const { images, registry, clock } = new ImagesFixture()
  registry.put(SCOPE, 'manifest', Buffer.from('one'), { tag: '1' })
  await images.resolve(TAG)
  await clock.advance(30_000)
  registry.hangs = true
  const resolved = images.resolve(TAG)
  await clock.advance(2_000)
  assert.ok((await resolved).staleSince !== undefined)
})

test('refusal is no reason to use old knowledge, nor is anything where it is off', async () => {
  const refused = new ImagesFixture()
  const off = new ImagesFixture({ staleTags: 'off' })
  for (const { images, registry, clock } of [refused, off]) {
    registry.put(SCOPE, 'manifest', Buffer.from('one'), { tag: '1' })
    await images.resolve(TAG)
    await clock.advance(30_000)
  }
  refused.registry.error = new LayerswarmError('REGISTRY_DENIED')
  off.registry.error = new LayerswarmError('REGISTRY_UNREACHABLE')
  await assert.rejects(refused.images.resolve(TAG), { code: 'REGISTRY_DENIED' })
  await assert.rejects(off.images.resolve(TAG), { code: 'REGISTRY_UNREACHABLE' })
})

test('a store that cannot be written does not keep a tag from being resolved', async () => {
  const fixture = new ImagesFixture()
  const manifest = fixture.manifest(LINUX, ['layer'], { tag: '1' })
  fixture.index.broken = new LayerswarmError('STORE_FAILED')
  assert.equal((await fixture.images.resolve(TAG)).descriptor.digest, manifest.digest)
  const found = await fixture.images.find({ ...REPOSITORY, digest: manifest.digest, kind: 'manifest' })
  assert.equal((await fixture.images.manifest(found)).manifest.layers.length, 1)
})
