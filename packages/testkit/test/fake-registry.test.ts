// needs: skopeo
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { promisify } from 'node:util'
import { digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { buildImage, imageBytes } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { type Dispatcher, request } from 'undici'

const run = promisify(execFile)
const BYTES = Buffer.from('some content')
const DIGEST = digestOf(BYTES)

type Options = { method?: Dispatcher.HttpMethod; body?: Uint8Array; headers?: Record<string, string> }

/** One request, on a connection of its own so that no test leaves one open. */
async function ask(registry: FakeRegistry, path: string, options: Options = {}) {
  const { statusCode, headers, body } = await request(new URL(path, registry.url), { ...options, reset: true })
  return { status: statusCode, headers, body: await body.text() }
}

/** Starts an upload. @returns where it goes on */
async function startUpload(registry: FakeRegistry): Promise<string> {
  const { status, headers } = await ask(registry, '/v2/a/b/blobs/uploads/', { method: 'POST' })
  assert.equal(status, 202)
  return String(headers.location)
}

suite('push', () => {
  test('a blob in one PUT', async () => {
    await using registry = await FakeRegistry.start()
    const location = await startUpload(registry)
    const { status, headers } = await ask(registry, `${location}?digest=${DIGEST}`, { method: 'PUT', body: BYTES })
    assert.deepEqual([status, headers['docker-content-digest']], [201, DIGEST])
    assert.equal((await ask(registry, String(headers.location))).body, BYTES.toString())
  })

  test('a blob in one POST', async () => {
    await using registry = await FakeRegistry.start()
    const { status } = await ask(registry, `/v2/a/b/blobs/uploads/?digest=${DIGEST}`, { method: 'POST', body: BYTES })
    assert.equal(status, 201)
    assert.equal((await ask(registry, `/v2/a/b/blobs/${DIGEST}`, { method: 'HEAD' })).status, 200)
  })

  test('a blob in chunks, refused out of order, its progress told', async () => {
    await using registry = await FakeRegistry.start()
    const location = await startUpload(registry)
    const patch = (start: number, end: number) =>
      ask(registry, location, { method: 'PATCH', body: BYTES.subarray(start, end), headers: { 'content-range': `${start}-${end - 1}` } })
    assert.equal((await patch(0, 5)).headers.range, '0-4')
    assert.equal((await patch(6, 12)).status, 416)
    const told = await ask(registry, location)
    assert.deepEqual([told.status, told.headers.range], [204, '0-4'])
    assert.equal((await patch(5, 12)).status, 202)
    assert.equal((await ask(registry, `${location}?digest=${DIGEST}`, { method: 'PUT' })).status, 201)
  })

  test('wrong digests are refused and nothing is kept', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'layerswarm-fake-registry-'))
    try {
      await using registry = await FakeRegistry.start({ dir })
      const wrong = digestOf(Buffer.from('other'))
      for (const digest of [wrong, 'sha256:1']) {
        const location = await startUpload(registry)
        assert.equal((await ask(registry, `${location}?digest=${digest}`, { method: 'PUT', body: BYTES })).status, 400)
      }
      assert.equal((await ask(registry, `/v2/a/b/blobs/${wrong}`)).status, 404)
      assert.equal((await ask(registry, await startUpload(registry), { method: 'DELETE' })).status, 204)
      assert.deepEqual(await readdir(dir), [])
    } finally {
      await rm(dir, { recursive: true })
    }
  })

  test('a mount names the blob in another repository, or starts an upload', async () => {
    await using registry = await FakeRegistry.start()
    await registry.putBlob('from/here', BYTES)
    const mount = (from: string) => ask(registry, `/v2/a/b/blobs/uploads/?mount=${DIGEST}&from=${from}`, { method: 'POST' })
    assert.equal((await mount('nobody/here')).status, 202)
    assert.equal((await ask(registry, `/v2/a/b/blobs/${DIGEST}`)).status, 404)
    assert.equal((await mount('from/here')).status, 201)
    assert.equal((await ask(registry, `/v2/a/b/blobs/${DIGEST}`)).status, 200)
  })

  test('a manifest needs its blobs, the right digest, and to be one', async () => {
    await using registry = await FakeRegistry.start()
    const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: DIGEST, size: BYTES.byteLength }
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [] }))
    const put = (reference: string, body: Uint8Array) =>
      ask(registry, `/v2/a/b/manifests/${reference}`, { method: 'PUT', body, headers: { 'content-type': MEDIA_TYPES.ociManifest } })
    assert.match((await put('v1', manifest)).body, /MANIFEST_BLOB_UNKNOWN/)
    await registry.putBlob('a/b', BYTES)
    assert.match((await put('v1', BYTES)).body, /MANIFEST_INVALID/)
    assert.match((await put(DIGEST, manifest)).body, /DIGEST_INVALID/)
    assert.equal((await put('v1', manifest)).status, 201)
    assert.equal(registry.tag('a/b', 'v1'), digestOf(manifest))
    for (const reference of ['v1', digestOf(manifest)]) {
      const got = await ask(registry, `/v2/a/b/manifests/${reference}`)
      assert.deepEqual([got.body, got.headers['content-type']], [manifest.toString(), MEDIA_TYPES.ociManifest])
    }
  })
})

suite('pull', () => {
  test('ranges of every form', async () => {
    await using registry = await FakeRegistry.start()
    await registry.putBlob('a/b', BYTES)
    for (const [range, status, body] of [
      ['bytes=0-3', 206, 'some'],
      ['bytes=5-', 206, 'content'],
      ['bytes=-3', 206, 'ent'],
      ['bytes=5-500', 206, 'content'],
      ['bytes=12-', 416, undefined],
      ['lines=1-2', 200, BYTES.toString()]
    ] as const) {
      const got = await ask(registry, `/v2/a/b/blobs/${DIGEST}`, { headers: { range } })
      assert.equal(got.status, status)
      if (body !== undefined) assert.equal(got.body, body)
    }
  })

  test('referrers by subject', async () => {
    await using registry = await FakeRegistry.start()
    const subject = { mediaType: MEDIA_TYPES.ociManifest, digest: DIGEST, size: 1 }
    const signature = Buffer.from(JSON.stringify({ schemaVersion: 2, artifactType: 'x/y', subject }))
    const digest = registry.putManifest('a/b', undefined, signature, MEDIA_TYPES.ociManifest)
    const { manifests } = JSON.parse((await ask(registry, `/v2/a/b/referrers/${DIGEST}`)).body)
    assert.deepEqual(manifests, [{ mediaType: MEDIA_TYPES.ociManifest, digest, size: signature.byteLength, artifactType: 'x/y' }])
  })

  test('requests and bytes are counted', async () => {
    await using registry = await FakeRegistry.start()
    await registry.putBlob('a/b', BYTES)
    await ask(registry, `/v2/a/b/blobs/${DIGEST}`)
    await ask(registry, `/v2/a/b/blobs/${DIGEST}`, { headers: { range: 'bytes=0-3' } })
    await ask(registry, `/v2/a/b/blobs/${DIGEST}`, { method: 'HEAD' })
    await ask(registry, '/v2/')
    assert.equal(registry.log.payloadBytes(DIGEST), BYTES.byteLength + 4)
    assert.equal(registry.log.payloadBytes(), BYTES.byteLength + 4)
    assert.deepEqual([registry.log.count(), registry.log.count({ kind: 'blob', method: 'GET' })], [4, 2])
  })

  test('stopped and started, it serves the same at the same address', async () => {
    await using registry = await FakeRegistry.start()
    await registry.putBlob('a/b', BYTES)
    const { url } = registry
    await registry.stop()
    await assert.rejects(ask(registry, '/v2/'))
    await registry.start()
    assert.equal(registry.url, url)
    assert.equal((await ask(registry, `/v2/a/b/blobs/${DIGEST}`)).body, BYTES.toString())
  })
})

test('real clients push to it and pull from it', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'layerswarm-fake-registry-'))
  try {
    await using registry = await FakeRegistry.start({ dir: join(dir, 'blobs') })
    const image = await buildImage({ layers: [{ seed: 'skopeo', size: 1_000_000 }], attestation: true })
    await pushImage(image, registry.url, 'a/b', 'v1')
    const options = ['copy', '--all', '--src-tls-verify=false', '--dest-tls-verify=false']
    await run('skopeo', [...options, `docker://${registry.host}/a/b:v1`, `docker://${registry.host}/c/d:v2`])
    assert.equal(registry.tag('c/d', 'v2'), image.root.digest)
    registry.log.clear()
    await run('skopeo', [...options, `docker://${registry.host}/c/d:v2`, `oci:${join(dir, 'layout')}:v2`])
    assert.equal(registry.log.payloadBytes(), imageBytes(image))
  } finally {
    await rm(dir, { recursive: true })
  }
})
