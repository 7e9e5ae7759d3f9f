import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { endpointOf } from '@layerswarm/agent/registry/endpoint.ts'
import { type Digest, digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { assertBytes, assertCode, Bench, bytesOf, ClientUnderTest, REPOSITORY } from './support.ts'

const BYTES = Buffer.from('{"architecture":"amd64","os":"linux"}')
const TYPE = MEDIA_TYPES.ociManifest

/** A registry with a manifest, without `mediaType` in it, under the tag v1. */
async function openWithManifest(): Promise<{ bench: Bench; digest: Digest; manifest: Buffer }> {
  const bench = await Bench.open(BYTES)
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(BYTES), size: BYTES.byteLength }
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [] }))
  return { bench, manifest, digest: bench.registry.putManifest(REPOSITORY, 'v1', manifest, TYPE) }
}

suite('manifests', () => {
  test('a tag is resolved by HEAD, a manifest fetched by digest, all types accepted', async () => {
    const { bench, digest, manifest } = await openWithManifest()
    await using _ = bench
    const tag = { registry: bench.registry.host, repository: REPOSITORY, tag: 'v1' }
    assert.deepEqual(await bench.client.resolve(tag), { mediaType: TYPE, digest, size: manifest.byteLength })
    const content = await bench.client.content(bench.manifest(digest), { start: 0, end: 5 })
    assert.deepEqual([content.size, content.mediaType, content.range], [manifest.byteLength, TYPE, { start: 0, end: manifest.byteLength }])
    assertBytes(await bytesOf(content), manifest)
    const [head, get] = bench.registry.log.requests()
    assert.deepEqual([head?.method, get?.method, get?.headers.range], ['HEAD', 'GET', undefined])
    for (const type of Object.values(MEDIA_TYPES)) assert.ok(head?.headers.accept?.includes(type) && get?.headers.accept?.includes(type))
    assert.equal(head?.headers['user-agent'], 'layerswarm/test')
  })

  for (const [what, headers] of [
    ['no digest', { 'docker-content-digest': undefined }],
    ['no valid digest', { 'docker-content-digest': 'sha256:zz' }],
    ['no type', { 'content-type': undefined }],
    ['a type that says nothing', { 'content-type': 'application/octet-stream' }]
  ] as const) {
    test(`a HEAD with ${what} is made up for by a GET`, async () => {
      const { bench, digest, manifest } = await openWithManifest()
      await using _ = bench
      bench.registry.fault({ kind: 'manifest', fault: { headers } })
      const told = await bench.client.resolve({ registry: bench.registry.host, repository: REPOSITORY, tag: 'v1' })
      assert.deepEqual(told, { mediaType: TYPE, digest, size: manifest.byteLength })
    })
  }

  test('a registry without HEAD', async () => {
    const { bench, digest, manifest } = await openWithManifest()
    await using _ = bench
    bench.registry.fault({ method: 'HEAD', fault: { status: 405 } })
    assert.deepEqual(await bench.client.resolve(bench.manifest(digest)), { mediaType: TYPE, digest, size: manifest.byteLength })
    const told = await bench.client.resolve(bench.blob)
    assert.deepEqual(told, { mediaType: 'application/octet-stream', digest: bench.blob.digest, size: BYTES.byteLength })
    bench.registry.fault({ method: 'GET', fault: { headers: { 'content-length': undefined } } })
    await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_FAILED')
  })

  test('a digest asked for is the digest told, whatever the registry says', async () => {
    const { bench, digest } = await openWithManifest()
    await using _ = bench
    bench.registry.fault({ fault: { headers: { 'docker-content-digest': digestOf(Buffer.from('other')) } } })
    assert.equal((await bench.client.resolve(bench.manifest(digest))).digest, digest)
    assert.equal((await bench.client.resolve(bench.blob)).digest, bench.blob.digest)
  })

  test('parameters of a type are no part of it', async () => {
    const { bench, digest } = await openWithManifest()
    await using _ = bench
    bench.registry.fault({ fault: { headers: { 'content-type': `${TYPE}; charset=utf-8` } } })
    assert.equal((await bench.client.content(bench.manifest(digest))).mediaType, TYPE)
  })

  test('a compressed one is decoded, a cut one fetched again', async () => {
    const { bench, digest, manifest } = await openWithManifest()
    await using _ = bench
    bench.registry.fault({ kind: 'manifest', times: 1, fault: { gzip: true } })
    bench.registry.fault({ kind: 'manifest', skip: 1, times: 1, fault: { cutAfter: 10 } })
    for (let i = 0; i < 2; i++) assertBytes(await bytesOf(bench.client.content(bench.manifest(digest))), manifest)
    assert.equal(bench.registry.log.count(), 3)
  })

  test('one of more than 4 MiB is refused, compressed or not', async () => {
    const { bench, digest } = await openWithManifest()
    await using _ = bench
    for (const gzip of [false, true]) {
      using _fault = bench.registry.fault({ kind: 'manifest', fault: { pad: 5 * 1024 * 1024, gzip } })
      await assertCode(bench.client.content(bench.manifest(digest)), 'REGISTRY_FAILED')
    }
    await bench.registry.log.idle()
  })

  test('one without a type that is no manifest is invalid', async () => {
    await using bench = await Bench.open(BYTES)
    const digest = bench.registry.putManifest(REPOSITORY, undefined, Buffer.from('{}'), 'application/octet-stream')
    await assertCode(bench.client.content(bench.manifest(digest)), 'MANIFEST_INVALID')
  })
})

suite('documents', () => {
  test('tags and referrers are passed on with the headers that mean something', async () => {
    const { bench, digest } = await openWithManifest()
    await using _ = bench
    bench.registry.putManifest(REPOSITORY, 'v2', Buffer.from('{}'), TYPE)
    const tags = await bench.client.document(bench.registry.host, REPOSITORY, 'tags/list?n=1')
    assert.equal(tags.status, 200)
    assert.deepEqual(JSON.parse(Buffer.from(tags.body).toString()), { name: REPOSITORY, tags: ['v1'] })
    assert.deepEqual(Object.keys(tags.headers), ['content-type', 'link'])
    const referrers = await bench.client.document(bench.registry.host, REPOSITORY, `referrers/${digest}`)
    assert.deepEqual(JSON.parse(Buffer.from(referrers.body).toString()).manifests, [])
    assert.equal(referrers.headers['content-type'], MEDIA_TYPES.ociIndex)
  })

  test('a wrong question is passed on too, what is missing is not found', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'tags', times: 1, fault: { status: 400 } })
    assert.equal((await bench.client.document(bench.registry.host, REPOSITORY, 'tags/list?n=x')).status, 400)
    await assertCode(bench.client.document(bench.registry.host, 'nobody/nothing', 'tags/list'), 'NOT_FOUND')
  })

  test('other paths are not asked for, and long documents not read', async () => {
    await using bench = await Bench.open(BYTES)
    for (const path of ['tags/list/../../../x', 'blobs/x', 'tags/list#x', '../a/tags/list', 'tags/list?n=1 2']) {
      await assertCode(bench.client.document(bench.registry.host, REPOSITORY, path), 'NOT_FOUND')
    }
    assert.equal(bench.registry.log.count(), 0)
    bench.registry.fault({ kind: 'tags', fault: { pad: 5 * 1024 * 1024 } })
    await assertCode(bench.client.document(bench.registry.host, REPOSITORY, 'tags/list'), 'REGISTRY_FAILED')
  })
})

suite('names', () => {
  test('a registry that is not configured is not asked', async () => {
    await using bench = await Bench.open(BYTES)
    assert.ok(bench.client.allows(bench.registry.host))
    for (const registry of ['169.254.169.254', 'docker.io', '']) {
      assert.ok(!bench.client.allows(registry))
      await assertCode(bench.client.content({ ...bench.blob, registry }), 'REGISTRY_NOT_ALLOWED')
      await assertCode(bench.client.resolve({ registry, repository: REPOSITORY, tag: 'v1' }), 'REGISTRY_NOT_ALLOWED')
      await assertCode(bench.client.document(registry, REPOSITORY, 'tags/list'), 'REGISTRY_NOT_ALLOWED')
    }
  })

  test('a repository or tag that could name another path is not asked for', async () => {
    await using bench = await Bench.open(BYTES)
    for (const repository of ['../x', 'a/../b', 'a?b', 'A', '']) {
      await assertCode(bench.client.content({ ...bench.blob, repository }), 'NAME_INVALID')
    }
    await assertCode(bench.client.resolve({ registry: bench.registry.host, repository: REPOSITORY, tag: '../x' }), 'TAG_INVALID')
    assert.equal(bench.registry.log.count(), 0)
  })

  test('Docker Hub answers under another name', () => {
    assert.equal(endpointOf('docker.io', { insecure: false }).base.href, 'https://registry-1.docker.io/')
    assert.equal(endpointOf('[::1]:5000', { insecure: true }).base.href, 'http://[::1]:5000/')
  })
})

test('closing the client ends what is under way', async () => {
  await using bench = await Bench.open(BYTES)
  bench.registry.fault({ fault: { stallAfter: 1 } })
  const under = new ClientUnderTest(bench.registry.host)
  const reading = bytesOf(under.client.content(bench.blob))
  await bench.registry.log.seen()
  await under[Symbol.asyncDispose]()
  await assert.rejects(reading)
  await bench.registry.log.idle()
})
