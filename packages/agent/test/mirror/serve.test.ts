import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { errorOf, Fixture, SCOPE } from './mirror-fixture.ts'

const LAYER = new SeededRandom('layer').bytes(300_000)
const UNKNOWN_DIGEST = `sha256:${'0'.repeat(64)}`

test('the version check answers at once, with and without the slash', async () => {
  await using mirror = await Fixture.start()
  mirror.registry.hangs = true
  for (const path of ['/v2/', '/v2']) {
    const reply = await mirror.ask(path)
    assert.equal(reply.status, 200)
    assert.equal(reply.headers['docker-distribution-api-version'], 'registry/2.0')
    assert.equal(reply.body.toString(), '{}')
    assert.equal((await mirror.ask(path, {}, 'HEAD')).headers['content-length'], '2')
  }
})

test('a whole pull: HEAD of a tag, manifest, config and layer by digest', async () => {
  await using mirror = await Fixture.start()
  const { manifest, config, layer } = mirror.image(LAYER)
  const head = await mirror.ask('/v2/library/app/manifests/latest?ns=docker.io', {}, 'HEAD')
  assert.equal(head.status, 200)
  assert.equal(head.body.byteLength, 0)
  assert.equal(head.headers['docker-content-digest'], manifest.digest)
  assert.equal(head.headers['content-type'], MEDIA_TYPES.ociManifest)
  assert.equal(head.headers['content-length'], String(manifest.size))
  assert.equal(head.headers['oci-namespace'], 'docker.io')
  assert.equal(mirror.content.opened.length, 0)

  const got = await mirror.ask(`/v2/library/app/manifests/${manifest.digest}?ns=docker.io`)
  assert.equal(digestOf(got.body), manifest.digest)
  for (const name of ['content-type', 'content-length', 'docker-content-digest', 'etag'])
    assert.equal(got.headers[name], head.headers[name])
  assert.equal(got.headers.etag, `"${manifest.digest}"`)
  assert.equal(got.headers['x-layerswarm-source'], 'local')
  assert.deepEqual(
    mirror.content.expected.map(({ scope, layers }) => [scope, layers.map(({ digest }) => digest)]),
    [[SCOPE, [config.digest, layer.digest]]]
  )

  const asked = mirror.registry.calls.length
  for (const { digest, size } of [config, layer]) {
    const blobHead = await mirror.ask(`/v2/library/app/blobs/${digest}?ns=docker.io`, {}, 'HEAD')
    const blob = await mirror.ask(`/v2/library/app/blobs/${digest}?ns=docker.io`)
    assert.equal(digestOf(blob.body), digest)
    for (const { headers } of [blobHead, blob]) {
      assert.equal(headers['content-type'], 'application/octet-stream')
      assert.equal(headers['content-length'], String(size))
      assert.equal(headers['docker-content-digest'], digest)
      assert.equal(headers['accept-ranges'], 'bytes')
      assert.equal(headers['content-encoding'], undefined)
      assert.equal(headers['transfer-encoding'], undefined)
    }
  }
  assert.equal(mirror.registry.calls.length, asked, 'what a served manifest names is not asked for again')
  assert.equal(mirror.content.held, 0)
})

test('a manifest whose document names no type keeps the type that the registry gave it', async () => {
  await using mirror = await Fixture.start()
  const { manifest } = mirror.image(LAYER, { omitType: true })
  assert.equal((await mirror.ask(`/v2/app/manifests/${manifest.digest}`)).headers['content-type'], MEDIA_TYPES.ociManifest)
})

test('a manifest that the registry gives no type is typed by what it holds', async () => {
  await using mirror = await Fixture.start()
  const index = mirror.put(SCOPE, 'manifest', Buffer.from('{"schemaVersion":2,"manifests":[]}'), 'application/octet-stream', 'odd')
  for (const method of ['HEAD', 'GET']) {
    const reply = await mirror.ask('/v2/app/manifests/odd', {}, method)
    assert.equal(reply.headers['content-type'], MEDIA_TYPES.ociIndex)
    assert.equal(reply.headers['content-length'], String(index.size))
  }
})

describe('misses are 404 with an OCI error body, and HEAD has none', async () => {
  for (const [path, code] of [
    [`/v2/app/blobs/${UNKNOWN_DIGEST}`, 'BLOB_UNKNOWN'],
    [`/v2/app/manifests/${UNKNOWN_DIGEST}`, 'MANIFEST_UNKNOWN'],
    ['/v2/app/manifests/nothing', 'MANIFEST_UNKNOWN'],
    ['/v2/app/manifests/.INVALID_MANIFEST_NAME', 'MANIFEST_UNKNOWN'],
    ['/v2/app/manifests/latest?ns=unlisted.example.com', 'NAME_UNKNOWN'],
    ['/v2/app/manifests/latest?ns=169.254.169.254', 'NAME_UNKNOWN'],
    ['/v2/unlisted.example.com/app/manifests/latest', 'NAME_UNKNOWN'],
    ['/v2/app/tags/list', 'NAME_UNKNOWN'],
    [`/v2/app/referrers/${UNKNOWN_DIGEST}`, 'NAME_UNKNOWN'],
    ['/v2/_catalog', 'NOT_FOUND'],
    ['/v2/app/blobs/uploads/1', 'NOT_FOUND'],
    ['/elsewhere', 'NOT_FOUND']
  ] as const) {
    test(path.slice(0, 70), async () => {
      await using mirror = await Fixture.start()
      const reply = await mirror.ask(path)
      assert.equal(reply.status, 404)
      assert.equal(reply.headers['content-type'], 'application/json')
      assert.equal(reply.headers['content-length'], String(reply.body.byteLength))
      assert.equal(errorOf(reply.body).code, code)
      const head = await mirror.ask(path, {}, 'HEAD')
      assert.equal(head.status, 404)
      assert.equal(head.body.byteLength, 0)
      assert.equal(head.headers['content-length'], reply.headers['content-length'])
      if (code === 'NAME_UNKNOWN' && path.includes('manifests')) assert.deepEqual(mirror.registry.calls, [])
    })
  }
})

describe('requests that mean nothing are 400', () => {
  for (const [path, code] of [
    ['/v2/app/blobs/sha256:abc', 'DIGEST_INVALID'],
    ['/v2/app/manifests/sha256:abc', 'DIGEST_INVALID'],
    ['/v2/App/manifests/latest', 'NAME_INVALID'],
    ['/v2/app/manifests/latest?ns=', 'NAME_INVALID'],
    ['/v2/app/manifests/latest?ns=docker.io&ns=quay.io', 'NAME_INVALID']
  ] as const) {
    test(path, async () => {
      await using mirror = await Fixture.start()
      const reply = await mirror.ask(path)
      assert.equal(reply.status, 400)
      assert.equal(errorOf(reply.body).code, code)
      assert.deepEqual(mirror.registry.calls, [])
    })
  }
})

test('connections are kept longer than clients keep them', async () => {
  await using mirror = await Fixture.start()
  const reply = await mirror.raw('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  assert.match(reply, /\r\nKeep-Alive: timeout=95\r\n/)
  assert.equal(reply.match(/HTTP\/1\.1 200 OK/g)?.length, 2)
})

test('a registry may be named by the path', async () => {
  await using mirror = await Fixture.start()
  const { manifest } = mirror.image(LAYER, { scope: 'registry.example.com:5000/team/app' })
  const reply = await mirror.ask('/v2/registry.example.com_5000/team/app/manifests/latest')
  assert.equal(reply.headers['docker-content-digest'], manifest.digest)
  assert.equal(reply.headers['oci-namespace'], 'registry.example.com:5000')
})

test("the mirror's own address is no registry, however it is written", async () => {
  await using mirror = await Fixture.start()
  const asked: string[] = []
  mirror.registry.allows = (registry) => asked.push(registry) > 0
  const self = [`127.0.0.1:${mirror.port}`, `localhost:${mirror.port}`, `[::1]:${mirror.port}`, 'mirror.example.com']
  for (const ns of self) {
    const reply = await mirror.ask(`/v2/a/manifests/1?ns=${encodeURIComponent(ns)}`, { host: 'mirror.example.com' })
    assert.equal(reply.status, 404, ns)
    assert.equal(errorOf(reply.body).code, 'NAME_UNKNOWN')
  }
  assert.deepEqual(asked, [])
  await mirror.ask('/v2/a/manifests/1?ns=127.0.0.1:1')
  assert.deepEqual(asked, ['127.0.0.1:1'])
})

describe('methods of the push API are refused without reading their bodies', () => {
  for (const [method, path] of [
    ['PUT', '/v2/app/manifests/latest'],
    ['DELETE', `/v2/app/manifests/${UNKNOWN_DIGEST}`],
    ['POST', '/v2/app/blobs/uploads/'],
    ['PATCH', '/v2/app/blobs/uploads/123'],
    ['POST', '/v2/'],
    ['OPTIONS', `/v2/app/blobs/${UNKNOWN_DIGEST}`]
  ] as const) {
    test(`${method} ${path.slice(0, 40)}`, async () => {
      await using mirror = await Fixture.start()
      const reply = await mirror.ask(path, { 'content-type': 'x/y' }, method, method.startsWith('P') ? 'body' : undefined)
      assert.equal(reply.status, 405)
      assert.equal(reply.headers.allow, 'GET, HEAD')
      assert.equal(errorOf(reply.body).code, 'UNSUPPORTED')
    })
  }

  test('a client that waits for leave to send is told no before', async () => {
    await using mirror = await Fixture.start()
    const reply = await mirror.raw('PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n')
    assert.match(reply, /^HTTP\/1\.1 405 /)
  })
})

test('what the client has already is not sent again', async () => {
  await using mirror = await Fixture.start()
  const { manifest, layer } = mirror.image(LAYER)
  for (const [path, digest] of [
    ['/v2/app/manifests/latest', manifest.digest],
    [`/v2/app/manifests/${manifest.digest}`, manifest.digest],
    [`/v2/app/blobs/${layer.digest}`, layer.digest]
  ] as const) {
    const reply = await mirror.ask(path, { 'if-none-match': `"other", "${digest}"` })
    assert.equal(reply.status, 304)
    assert.equal(reply.headers.etag, `"${digest}"`)
    assert.equal(reply.body.byteLength, 0)
    assert.equal((await mirror.ask(path, { 'if-none-match': '"other"' })).status, 200)
  }
})

test('an empty blob is served, and has no ranges', async () => {
  await using mirror = await Fixture.start()
  const empty = mirror.put(SCOPE, 'blob', new Uint8Array(0), 'application/vnd.oci.image.layer.v1.tar')
  const reply = await mirror.ask(`/v2/app/blobs/${empty.digest}`)
  assert.equal(reply.status, 200)
  assert.equal(reply.headers['content-length'], '0')
  assert.equal((await mirror.ask(`/v2/app/blobs/${empty.digest}`, { range: 'bytes=0-' })).status, 416)
})

test('a manifest is no blob, and a layer no manifest', async () => {
  await using mirror = await Fixture.start()
  const { manifest, layer } = mirror.image(LAYER)
  await mirror.ask('/v2/app/manifests/latest')
  assert.equal((await mirror.ask(`/v2/app/blobs/${manifest.digest}`)).status, 404)
  assert.equal((await mirror.ask(`/v2/other/blobs/${manifest.digest}`)).status, 404)
  assert.equal((await mirror.ask(`/v2/app/manifests/${layer.digest}`)).status, 404)
})

test('a tag is served as the type that the request accepts, and never converted', async () => {
  await using mirror = await Fixture.start()
  mirror.image(LAYER)
  const ask = async (accept: string) => (await mirror.ask('/v2/app/manifests/latest', { accept })).status
  assert.equal(await ask('*/*'), 200)
  assert.equal(await ask('application/*;q=0.1'), 200)
  assert.equal(await ask(`${MEDIA_TYPES.dockerManifest}, ${MEDIA_TYPES.ociManifest};q=0.5`), 200)
  assert.equal(await ask(MEDIA_TYPES.dockerManifest), 404)
  assert.equal(await ask(`${MEDIA_TYPES.ociManifest};q=0`), 404)
})

test('a digest that another repository has is not given out', async () => {
  await using mirror = await Fixture.start()
  const { layer } = mirror.image(LAYER, { scope: 'docker.io/team/secret' })
  assert.equal((await mirror.ask(`/v2/team/open/blobs/${layer.digest}`)).status, 404)
  assert.equal((await mirror.ask(`/v2/team/secret/blobs/${layer.digest}`)).status, 200)
  mirror.content.fleet.set(`docker.io/team/known@${layer.digest}`, { size: layer.size })
  mirror.registry.error = new LayerswarmError('REGISTRY_UNREACHABLE')
  assert.equal((await mirror.ask(`/v2/team/known/blobs/${layer.digest}`)).status, 200)
})

test('tags and referrers are passed on from the registry, with links that lead back here', async () => {
  await using mirror = await Fixture.start()
  const subject = `sha256:${'5'.repeat(64)}`
  mirror.registry.documents.set('docker.io/library/app/tags/list?n=2', {
    status: 200,
    headers: { 'content-type': 'application/json; charset=utf-8', link: '</v2/library/app/tags/list?last=b&n=2>; rel="next"' },
    body: Buffer.from('{"name":"library/app","tags":["a","b"]}')
  })
  mirror.registry.documents.set(`docker.io/library/app/referrers/${subject}?artifactType=sig`, {
    status: 200,
    headers: { 'content-type': MEDIA_TYPES.ociIndex, 'oci-filters-applied': 'artifactType' },
    body: Buffer.from('{"schemaVersion":2,"manifests":[]}')
  })
  mirror.registry.documents.set(`docker.io/library/app/referrers/${subject}`, {
    status: 200,
    headers: { 'content-type': 'text/html' },
    body: Buffer.from('<html>')
  })
  const tags = await mirror.ask('/v2/app/tags/list?n=2&ns=docker.io&other=1')
  assert.equal(tags.headers['content-type'], 'application/json')
  assert.deepEqual(JSON.parse(tags.body.toString()).tags, ['a', 'b'])
  assert.equal(tags.headers.link, '</v2/app/tags/list?n=2&last=b&ns=docker.io>; rel="next"')
  const referrers = await mirror.ask(`/v2/app/referrers/${subject}?artifactType=sig`)
  assert.equal(referrers.headers['content-type'], MEDIA_TYPES.ociIndex)
  assert.equal(referrers.headers['oci-filters-applied'], 'artifactType')
  assert.equal((await mirror.ask(`/v2/app/referrers/${subject}`)).status, 404)
})

test('each outcome is one line and one count', async () => {
  await using mirror = await Fixture.start()
  const { layer } = mirror.image(LAYER)
  await mirror.ask(`/v2/app/blobs/${layer.digest}`)
  await mirror.ask('/v2/app/manifests/nothing')
  const lines = mirror.lines.filter(({ level }) => level === 'info')
  assert.deepEqual(
    lines.map(({ msg, method, scope, digest, status, bytes, source }) => [msg, method, scope, digest, status, bytes, source]),
    [
      ['blob served', 'GET', SCOPE, layer.digest.slice(0, 19), 200, 300_000, 'local'],
      ['manifest missed', 'GET', SCOPE, undefined, 404, 0, undefined]
    ]
  )
  const text = await mirror.metrics.metrics()
  assert.match(text, /layerswarm_requests_total\{kind="blob",result="served",source="local"\} 1/)
  assert.match(text, /layerswarm_requests_total\{kind="manifest",result="missed",source="none"\} 1/)
  assert.match(text, /layerswarm_bytes_total\{direction="out",source="client"\} 300000/)
  assert.match(text, /layerswarm_first_byte_seconds_count 1/)
})
