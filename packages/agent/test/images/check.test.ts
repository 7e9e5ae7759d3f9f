import assert from 'node:assert/strict'
import { readFile, rm } from 'node:fs/promises'
import { test } from 'node:test'
import type { CheckLine } from '@layerswarm/core/api/images-api.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { buildImage, type TestImage } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { LocalHost } from './local-host.ts'

async function pulled(host: LocalHost): Promise<{ name: string; image: TestImage }> {
  const image = await buildImage({
    layers: [
      { seed: 'a', size: 700_000 },
      { seed: 'b', size: 1000 }
    ],
    attestation: true
  })
  await pushImage(image, host.registry.url, 'team/app', '1')
  const name = `${host.registry.host}/team/app:1`
  await host.images.pull(name)
  return { name, image }
}

test('a sound store is sound, and hashing it says so too', async () => {
  await using host = await LocalHost.open()
  const { name } = await pulled(host)
  assert.equal((await host.check({})).summary.sound, true)
  const { summary, images, lines } = await host.check({ verify: true })
  assert.deepEqual([summary.sound, summary.complete, summary.corrupt, summary.verified.blobs], [true, 1, [], 6])
  assert.deepEqual([images[0]?.image, images[0]?.corrupt], [name, 0])
  assert.equal(lines.filter((line) => 'progress' in line && line.progress.done).length, 6)
})

for (const which of ['layer', 'config', 'manifest', 'index'] as const) {
  test(`a corrupt ${which} is found by hashing, named with its image, and mended`, async () => {
    await using host = await LocalHost.open()
    const { name, image } = await pulled(host)
    const target = { layer: image.layers[0], config: image.config, manifest: image.manifest, index: image.root }[which]
    assert.ok(target)
    await host.rot(target.digest, 5)
    const found = await host.check({ verify: true })
    assert.equal(found.summary.sound, false)
    assert.deepEqual(found.summary.corrupt, [{ digest: target.digest, size: target.size, images: [name] }])
    assert.equal(found.images[0]?.corrupt, 1)
    assert.equal(found.images[0]?.state, which === 'index' ? 'missing' : 'incomplete')

    const mended = await host.check({ image: name, repair: true })
    assert.deepEqual([mended.summary.sound, mended.images[0]?.state], [true, 'complete'])
    assert.equal(digestOf(await readFile(host.blobPath(target.digest))), target.digest)
    assert.equal((await host.check({ verify: true })).summary.sound, true)
  })
}

test('how far a large blob is hashed, and fetched again, is told on the way', async () => {
  await using host = await LocalHost.open()
  const image = await buildImage({ layers: [{ seed: 'large', size: 40_000_000, compression: 'none' }] })
  await pushImage(image, host.registry.url, 'team/app', '1')
  await host.images.pull(`${host.registry.host}/team/app:1`)
  const [layer] = image.layers
  assert.ok(layer)
  const steps = (lines: readonly CheckLine[]) =>
    lines.flatMap((line) => ('progress' in line && line.progress.digest === layer.digest ? [line.progress] : []))
  const hashed = steps((await host.check({ verify: true })).lines)
  assert.ok(hashed.some(({ bytes, done }) => !done && bytes > 0 && bytes < layer.size))
  assert.deepEqual(hashed.at(-1), { digest: layer.digest, size: layer.size, bytes: layer.size, done: true })
  await rm(host.blobPath(layer.digest))
  await host.check({ verify: true })
  const fetched = steps((await host.check({ repair: true })).lines)
  assert.deepEqual(fetched.at(-1), { digest: layer.digest, size: layer.size, bytes: layer.size, done: true })
})

test('a check that is given up while it hashes hashes no longer', async () => {
  await using host = await LocalHost.open()
  const image = await buildImage({ layers: [{ seed: 'large', size: 40_000_000, compression: 'none' }] })
  await pushImage(image, host.registry.url, 'team/app', '1')
  await host.images.pull(`${host.registry.host}/team/app:1`)
  const stop = new AbortController()
  const lines = host.local.check({ verify: true }, { signal: stop.signal })
  const given = (async () => {
    for await (const line of lines)
      if ('progress' in line && line.progress.bytes > 0 && !line.progress.done) stop.abort(new Error('enough'))
  })()
  await assert.rejects(given, /enough/)
  // Who only stops to read ends it as well.
  for await (const line of host.local.check({ verify: true })) if ('progress' in line && line.progress.bytes > 0) break
})

test('hashing and mending in one go', async () => {
  await using host = await LocalHost.open()
  const { image } = await pulled(host)
  const [layer] = image.layers
  assert.ok(layer)
  await host.rot(layer.digest)
  const { summary } = await host.check({ verify: true, repair: true })
  assert.deepEqual([summary.sound, summary.corrupt.length, summary.mended, summary.complete], [true, 1, 1, 1])
})

test('what is mended is the image that was here, not what its tag has become', async () => {
  await using host = await LocalHost.open()
  const { name, image } = await pulled(host)
  await pushImage(await buildImage({ layers: [{ seed: 'later', size: 100 }] }), host.registry.url, 'team/app', '1')
  const [layer] = image.layers
  assert.ok(layer)
  await rm(host.blobPath(layer.digest))
  const { summary, images } = await host.check({ image: name, verify: true, repair: true })
  assert.deepEqual([summary.sound, images[0]?.digest], [true, image.root.digest])
})

test('what cannot be had again is told, and stays a fault', async () => {
  await using host = await LocalHost.open()
  const { name, image } = await pulled(host)
  const [layer] = image.layers
  assert.ok(layer)
  await host.rot(layer.digest)
  host.registry.fault({ kind: 'blob', fault: { status: 404 } })
  const { summary, lines } = await host.check({ verify: true, repair: true })
  assert.deepEqual([summary.sound, summary.mended, summary.incomplete], [false, 0, 1])
  const failed = lines.flatMap((line) => ('failed' in line ? [line.failed] : []))
  assert.equal(failed[0]?.image, name)
})

test('an unknown image is no image', async () => {
  await using host = await LocalHost.open()
  await assert.rejects(host.check({ image: 'nginx:1' }), { code: 'IMAGE_UNKNOWN' })
})

test('eviction by policy on request, and what it leaves', async () => {
  await using host = await LocalHost.open({ maxDisk: '100MB' })
  await pulled(host)
  const { evicted, bytes, kept, bound } = await host.local.gc()
  assert.deepEqual([evicted, bytes, bound], [[], 0, 100_000_000])
  assert.ok(kept > 700_000)
})
