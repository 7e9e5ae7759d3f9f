import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { PushProgress } from '@layerswarm/core/api/push-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { describeBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { buildImage, type TestImage, writeOciLayout } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { exportImage, parseOutput } from '../../src/images/export.ts'
import { openFiles, parseSource } from '../../src/images/sources.ts'
import { takeIn } from '../../src/images/take-in.ts'
import { FakeContainerd } from '../containerd/fake-containerd.ts'
import { LocalHost } from './local-host.ts'

const run = promisify(execFile)

async function build(): Promise<TestImage> {
  return await buildImage({
    layers: [
      { seed: 'a', size: 400_000 },
      { seed: 'b', size: 5000, compression: 'zstd' }
    ],
    attestation: true
  })
}

async function pushFiles(host: LocalHost, from: string, image: string) {
  const source = parseSource(from)
  assert.ok('path' in source)
  await using files = await openFiles(source, image)
  await takeIn(files, host.local)
  const { mediaType, digest, size } = files.root
  return await host.local.push({ image, from: { root: { mediaType, digest, size } } })
}

function layerBytes(host: LocalHost): number {
  return host.registry.log
    .requests({ kind: 'upload', method: 'PUT' })
    .reduce((sum, { headers }) => sum + Number(headers['content-length']), 0)
}

test("an image goes up whole, children first and the tag last, and is then this host's too", async () => {
  await using host = await LocalHost.open()
  const image = await build()
  await writeOciLayout(image, join(host.dir.path, 'layout'), '1')
  const name = `${host.registry.host}/team/app:1`
  const summary = await pushFiles(host, `oci:${join(host.dir.path, 'layout')}`, name)
  assert.deepEqual([summary.digest, summary.manifests, summary.blobs, summary.sent], [image.root.digest, 3, 5, summary.bytes])
  const puts = host.registry.log.requests({ kind: 'manifest', method: 'PUT' }).map(({ reference }) => reference)
  assert.deepEqual(puts.slice(-2), [image.root.digest, '1'])
  assert.equal(puts.length, 4)
  assert.equal(host.registry.tag('team/app', '1'), image.root.digest)
  const { images } = await host.list('all')
  assert.deepEqual(
    images.map(({ image: known, state }) => [known, state]),
    [[name, 'complete']]
  )
  host.registry.log.clear()
  assert.equal((await host.images.pull(name)).counts.registry, 0)
  assert.equal(host.registry.log.payloadBytes(), 0)
})

test('a second tag and a second repository move no layer', async () => {
  await using host = await LocalHost.open()
  const image = await build()
  await pushImage(image, host.registry.url, 'team/app', '1')
  const name = `${host.registry.host}/team/app:1`
  await host.images.pull(name, { platforms: 'all' })
  host.registry.log.clear()
  const tagged = await host.local.push({ image: `${host.registry.host}/team/app:2`, from: { image: name } })
  assert.deepEqual([tagged.sent, tagged.held], [0, tagged.bytes])
  const moved = await host.local.push({ image: `${host.registry.host}/team/other:1`, from: { image: name } })
  assert.deepEqual([moved.sent, moved.mounted], [0, moved.bytes])
  assert.equal(layerBytes(host), 0)
  assert.equal(host.registry.tag('team/other', '1'), image.root.digest)
})

test('what the source has by name alone is fetched only where the registry lacks it', async () => {
  await using host = await LocalHost.open()
  const image = await build()
  await pushImage(image, host.registry.url, 'team/app', '1')
  const name = `${host.registry.host}/team/app:1`
  await host.images.resolve({ registry: host.registry.host, repository: 'team/app', tag: '1' })
  host.registry.fault({ kind: 'upload', method: 'POST', times: 1, fault: { status: 403 } })
  const { sent, mounted } = await host.local.push({ image: `${host.registry.host}/team/copy:1`, from: { image: name } })
  assert.ok(sent > 0 && mounted > 0)
  assert.equal(host.registry.tag('team/copy', '1'), image.root.digest)
  await assert.rejects(host.local.push({ image: name, from: { image: `${host.registry.host}/team/none:1` } }), { code: 'IMAGE_UNKNOWN' })
})

test('a registry that lost a blob is given it once more', async () => {
  await using host = await LocalHost.open()
  const image = await build()
  await writeOciLayout(image, join(host.dir.path, 'layout'))
  // It says that it has every blob, and then knows none of them.
  host.registry.fault({ kind: 'blob', method: 'HEAD', times: 5, fault: { status: 200 } })
  const progress: PushProgress[] = []
  await using files = await openFiles({ kind: 'oci', path: join(host.dir.path, 'layout') }, `${host.registry.host}/team/app:1`)
  await takeIn(files, host.local)
  const { mediaType, digest, size } = files.root
  const wanted = { image: `${host.registry.host}/team/app:1`, from: { root: { mediaType, digest, size } } }
  await host.local.push(wanted, { onProgress: (step) => progress.push(step) })
  assert.ok(progress.some(({ how }) => how === 'held') && progress.some(({ how }) => how === 'sent'))
  assert.equal(host.registry.tag('team/app', '1'), image.root.digest)
})

test('a push that fails leaves no tag', async () => {
  await using host = await LocalHost.open()
  const image = await build()
  await writeOciLayout(image, join(host.dir.path, 'layout'))
  host.registry.fault({ kind: 'upload', method: 'PUT', fault: { status: 413 } })
  await assert.rejects(pushFiles(host, `oci:${join(host.dir.path, 'layout')}`, `${host.registry.host}/team/app:1`), {
    code: 'REGISTRY_REFUSED'
  })
  assert.equal(host.registry.tag('team/app', '1'), undefined)
  await assert.rejects(host.local.push({ image: 'quay.io/a/b:1', from: { root: image.root } }), { code: 'REGISTRY_NOT_ALLOWED' })
  const other = `${host.registry.host}/team/app@${image.manifest.digest}`
  await assert.rejects(host.local.push({ image: other, from: { root: image.root } }), { code: 'REFERENCE_INVALID' })
})

test('what was written can be read again: layout, archive of one, docker archive, and tar reads them too', async () => {
  await using host = await LocalHost.open()
  const image = await build()
  await pushImage(image, host.registry.url, 'team/app', '1')
  const name = `${host.registry.host}/team/app:1`
  await host.images.pull(name, { platforms: 'all' })
  await using source = await host.local.source(name)
  for (const [kind, platforms, root] of [
    ['oci', undefined, image.manifest.digest],
    ['oci', 'all', image.root.digest],
    ['oci-archive', 'all', image.root.digest],
    ['docker-archive', undefined, image.manifest.digest]
  ] as const) {
    const path = join(host.dir.path, `${kind}-${platforms}`)
    const written = await exportImage(source, parseOutput(`${kind}:${path}`), { name, platforms })
    assert.equal(written.digest, root)
    if (kind !== 'oci')
      assert.match((await run('tar', ['tf', path])).stdout, kind === 'oci-archive' ? /^index\.json$/m : /^manifest\.json$/m)
    const target = `${host.registry.host}/copy/${kind}:1`
    const { digest } = await pushFiles(host, `${kind}:${path}`, target)
    if (kind !== 'docker-archive') assert.equal(digest, root)
    assert.equal(host.registry.tag(`copy/${kind}`, '1'), digest)
  }
  // Layers come out of a docker archive as plain tars; the configuration is the same to the byte.
  const { images } = await host.list()
  assert.equal(images.find(({ image: known }) => known.includes('docker-archive'))?.mediaType, MEDIA_TYPES.dockerManifest)
})

test('an archive of several images, of none, cut off or compressed says so', async () => {
  await using host = await LocalHost.open()
  const layout = join(host.dir.path, 'layout')
  await writeOciLayout(await build(), layout, '1')
  await writeOciLayout(await buildImage({ layers: [{ seed: 'other', size: 100 }] }), layout, '2')
  const open = async (from: string, image = 'app:3') => {
    const source = parseSource(from)
    assert.ok('path' in source)
    await using files = await openFiles(source, image)
    return files.root.digest
  }
  await assert.rejects(open(`oci:${layout}`), { code: 'SOURCE_INVALID', message: /holds 2 images, named 1, 2/ })
  assert.notEqual(await open(`oci:${layout}`, 'app:1'), await open(`oci:${layout}`, 'app:2'))
  const tar = join(host.dir.path, 'layout.tar')
  await run('tar', ['cf', tar, '-C', layout, '.'])
  assert.equal(await open(`oci-archive:${tar}`, 'app:2'), await open(`oci:${layout}`, 'app:2'))
  await run('gzip', ['-k', tar])
  await assert.rejects(open(`oci-archive:${tar}.gz`), { code: 'SOURCE_INVALID', message: /not a tar archive, or compressed/ })
  await truncate(tar, 100_000)
  await assert.rejects(open(`oci-archive:${tar}`), { code: 'SOURCE_INVALID', message: /cut off/ })
  await mkdir(join(host.dir.path, 'empty'))
  await assert.rejects(open(`oci:${join(host.dir.path, 'empty')}`), { code: 'SOURCE_INVALID', message: /there is no index\.json/ })
  await assert.rejects(open(`docker-archive:${join(host.dir.path, 'none.tar')}`), { code: 'SOURCE_INVALID' })
  assert.deepEqual(parseSource('containerd:local/app:1'), { kind: 'containerd', image: 'local/app:1' })
  for (const text of ['nonsense', 'oci:', 'tar:x', 'containerd:Not An Image'])
    assert.throws(() => parseSource(text), { code: /^(?:SOURCE|REFERENCE)_INVALID$/ })
})

test('a layout that points out of itself, or holds false content, gets nothing into the store', async () => {
  await using host = await LocalHost.open()
  const image = await build()
  const layout = join(host.dir.path, 'layout')
  await writeOciLayout(image, layout)
  const [layer] = image.layers
  assert.ok(layer)
  const path = join(layout, 'blobs', 'sha256', layer.digest.slice('sha256:'.length))
  await writeFile(path, Buffer.alloc(layer.size))
  const name = `${host.registry.host}/team/app:1`
  await assert.rejects(pushFiles(host, `oci:${layout}`, name), { code: 'DIGEST_MISMATCH' })
  await writeFile(path, 'short')
  await assert.rejects(pushFiles(host, `oci:${layout}`, name), { code: 'SIZE_MISMATCH' })
  await run('ln', ['-sf', '/etc/passwd', path])
  await assert.rejects(pushFiles(host, `oci:${layout}`, name), { code: 'SOURCE_INVALID', message: /leads out of/ })
  assert.equal(await host.local.has(layer), false)
})

test('a docker archive takes container images only, of one platform', async () => {
  await using host = await LocalHost.open()
  const config = { mediaType: 'application/vnd.example.model+json', digest: await host.registry.putBlob('m/a', Buffer.from('{}')), size: 2 }
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [config] }))
  host.registry.putManifest('m/a', '1', manifest, MEDIA_TYPES.ociManifest)
  const name = `${host.registry.host}/m/a:1`
  const { digest } = await host.images.pull(name)
  await using source = await host.local.source(`${host.registry.host}/m/a@${digest as Digest}`)
  await assert.rejects(exportImage(source, { kind: 'docker-archive', path: join(host.dir.path, 'a.tar') }, {}), { code: 'OUTPUT_FAILED' })
  const there = { kind: 'oci-archive', path: join(host.dir.path, 'none', 'a.tar') } as const
  await assert.rejects(exportImage(source, there, {}), { code: 'OUTPUT_FAILED' })
  await mkdir(join(host.dir.path, 'other', 'things'), { recursive: true })
  await assert.rejects(exportImage(source, { kind: 'oci', path: join(host.dir.path, 'other') }, {}), {
    code: 'OUTPUT_FAILED',
    message: /neither empty nor an image layout/
  })
  assert.throws(() => parseOutput('tar:x'), { code: 'OUTPUT_FAILED' })
})

test('what containerd has is pushed without an agent too: only what is pushed is proven, and nothing is copied', async () => {
  await using fake = await FakeContainerd.start()
  await using host = await LocalHost.open({ containerdAddress: fake.socket })
  const image = await build()
  const contents = [...image.blobs.values()].map(async (blob) => Buffer.concat(await Array.fromAsync(blob.open())))
  for (const bytes of [...(await Promise.all(contents)), ...image.manifests.map((one) => one.bytes)]) {
    await fake.add('default', describeBlob(bytes))
  }
  const { mediaType, digest, size } = image.root
  fake.namespace('default').images.set('registry.invalid/local/app:dev', { media_type: mediaType, digest, size })
  const target = `${host.registry.host}/team/app:1`
  const summary = await host.local.push({ image: target, from: { image: 'registry.invalid/local/app:dev', at: 'containerd' } })
  assert.deepEqual([summary.digest, summary.sent], [digest, summary.bytes])
  assert.equal(host.registry.tag('team/app', '1'), digest)
  for (const layer of image.layers) await assert.rejects(stat(host.blobPath(layer.digest)), { code: 'ENOENT' })
})

test('what containerd knows by a name is not what this host does; without a containerd that is what is said', async () => {
  await using fake = await FakeContainerd.start()
  for (const [containerdAddress, code, message] of [
    [fake.socket, 'IMAGE_UNKNOWN', /in containerd/],
    ['none', 'CONTAINERD_FAILED', /none on this host/]
  ] as const) {
    await using host = await LocalHost.open({ containerdAddress })
    const image = `${host.registry.host}/team/app:1`
    await pushImage(await build(), host.registry.url, 'team/app', '1')
    await host.images.pull(image)
    await assert.rejects(host.local.push({ image, from: { image, at: 'containerd' } }), { code, message })
  }
})
