import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { errorOf, PushFixture, replyTo } from './push-fixture.ts'

const MIB = 1024 * 1024
const bytes = new SeededRandom('pushed').bytes(3 * MIB + 77)
const digest = digestOf(bytes)
const EMPTY = new Uint8Array()

function manifestOf(layer = digest, size = bytes.byteLength, more: object = {}) {
  const config = { mediaType: 'application/vnd.example.config', digest: layer, size }
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [config], ...more }
  return Buffer.from(JSON.stringify(document))
}

const asManifest = (body: Uint8Array) => ({ body, headers: { 'content-type': MEDIA_TYPES.ociManifest } })

test('what is pushed as docker does is at the registry and here, and its tag says so at once', async () => {
  await using under = await PushFixture.start()
  const { origin, store } = under
  const base = `/v2/${under.path('team/app')}`
  assert.equal((await under.ask('HEAD', `${base}/blobs/${digest}`)).status, 404)
  const pushed = await under.pushChunked(bytes)
  assert.equal(pushed.status, 201)
  assert.equal(pushed.headers['docker-content-digest'], digest)
  assert.equal(pushed.headers.location, `${base}/blobs/${digest}`)
  assert.ok(await under.hasAtOrigin(digest))
  assert.equal((await store.stat(digest))?.state, 'complete')
  assert.equal((await under.ask('HEAD', `${base}/blobs/${digest}`)).status, 200)
  // The layer goes to the registry as it comes, in one part, and not a second time.
  const sent = origin.log.requests({ kind: 'upload' }).map(({ method }) => method)
  assert.deepEqual(sent, ['POST', 'PATCH', 'PUT'])

  assert.equal((await under.ask('GET', `${base}/manifests/1`)).status, 404)
  for (const manifest of [manifestOf(), manifestOf(digest, bytes.byteLength, { annotations: { a: 'b' } })]) {
    const { status, headers } = await under.ask('PUT', `${base}/manifests/1`, asManifest(manifest))
    assert.deepEqual([status, headers['docker-content-digest']], [201, digestOf(manifest)])
    assert.equal(origin.tag('team/app', '1'), digestOf(manifest))
    assert.deepEqual((await under.ask('GET', `${base}/manifests/1`)).body, manifest)
  }
  origin.log.clear()
  assert.equal(digestOf((await under.ask('GET', `${base}/blobs/${digest}`)).body), digest)
  assert.equal(origin.log.count({ kind: 'blob' }), 0)
  assert.deepEqual(await under.leftovers(), [])
})

test('what is pushed in one request goes to the registry in one, as containerd and as the specification have it', async () => {
  await using under = await PushFixture.start()
  const put = await under.ask('PUT', `${await under.begin()}?digest=${digest}`, { body: bytes })
  assert.equal(put.status, 201)
  const [request] = under.origin.log.requests({ kind: 'upload', method: 'PUT' })
  assert.equal(request?.headers['content-length'], String(bytes.byteLength))
  assert.equal(under.origin.log.count({ method: 'PATCH' }), 0)
  const other = new SeededRandom('other').bytes(200_000)
  const post = await under.ask('POST', `/v2/${under.path('team/app')}/blobs/uploads/?digest=${digestOf(other)}`, { body: other })
  assert.equal(post.status, 201)
  const empty = await under.ask('PUT', `${await under.begin()}?digest=${digestOf(EMPTY)}`, { body: EMPTY })
  assert.equal(empty.status, 201)
  for (const one of [digest, digestOf(other), digestOf(EMPTY)]) assert.ok(await under.hasAtOrigin(one))
})

test('parts follow each other; one that does not belong where the upload stands is refused and says where', async () => {
  await using under = await PushFixture.start()
  const location = await under.begin()
  const part = (start: number, end: number, method = 'PATCH', to = location) =>
    under.ask(method, to, { body: bytes.subarray(start, end), headers: { 'content-range': `${start}-${end - 1}` } })
  assert.equal((await part(0, MIB)).headers.range, `0-${MIB - 1}`)
  for (const wrong of [await part(2 * MIB, 3 * MIB), await part(0, MIB)]) {
    assert.deepEqual([wrong.status, wrong.headers.range, wrong.headers.location], [416, `0-${MIB - 1}`, location])
  }
  assert.equal((await part(MIB, 2 * MIB)).status, 202)
  const { status, headers } = await under.ask('GET', location)
  assert.deepEqual([status, headers.range], [204, `0-${2 * MIB - 1}`])
  assert.equal((await part(2 * MIB, bytes.byteLength, 'PUT', `${location}?digest=${digest}`)).status, 201)
  assert.ok(await under.hasAtOrigin(digest))
  assert.equal((await under.ask('GET', location)).status, 404)
})

for (const how of ['in parts', 'in one request'] as const) {
  test(`content that is not what it is said to be, ${how}, is kept nowhere`, async () => {
    await using under = await PushFixture.start()
    const wrong = digestOf(Buffer.from('something else'))
    const location = await under.begin()
    const reply =
      how === 'in parts' ? await under.pushChunked(bytes, wrong) : await under.ask('PUT', `${location}?digest=${wrong}`, { body: bytes })
    assert.deepEqual([reply.status, errorOf(reply).code], [400, 'DIGEST_INVALID'])
    for (const one of [wrong, digest]) {
      assert.equal(await under.hasAtOrigin(one), false)
      assert.equal(await under.store.stat(one), undefined)
    }
    assert.equal(under.origin.log.count({ kind: 'upload', method: 'DELETE' }), 1)
    if (how === 'in one request') {
      assert.deepEqual(await under.leftovers(), [])
      assert.equal((await under.ask('GET', location)).status, 404)
    }
  })
}

test('a push that its client breaks off goes on where it stands', async () => {
  await using under = await PushFixture.start()
  const location = await under.begin()
  const patch = under.open('PATCH', location)
  patch.on('error', () => undefined)
  patch.write(bytes.subarray(0, 2 * MIB))
  await under.origin.log.seen({ kind: 'upload', method: 'PATCH' })
  patch.destroy()
  await under.origin.log.idle()
  const standing = await under.ask('GET', location)
  const from = Number(standing.headers.range?.slice(2)) + 1
  assert.ok(from <= 2 * MIB)
  // As a client that finds an empty upload begins anew, from its start.
  const rest = from === 1 ? bytes : bytes.subarray(from)
  assert.equal((await under.ask('PATCH', location, { body: rest })).status, 202)
  assert.equal((await under.ask('PUT', `${location}?digest=${digest}`, { body: EMPTY })).status, 201)
  assert.ok(await under.hasAtOrigin(digest))
})

test('a registry that breaks off, or loses an upload, is served again from here', async () => {
  await using under = await PushFixture.start()
  under.origin.fault({ kind: 'upload', method: 'PATCH', times: 1, fault: { breakUploadAfter: MIB } })
  assert.equal((await under.pushChunked(bytes)).status, 201)
  const other = new SeededRandom('lost').bytes(MIB)
  under.origin.fault({ kind: 'upload', method: 'PUT', times: 1, fault: { status: 404 } })
  under.origin.fault({ kind: 'upload', method: 'GET', times: 1, fault: { status: 404 } })
  assert.equal((await under.pushChunked(other)).status, 201)
  for (const one of [digest, digestOf(other)]) assert.ok(await under.hasAtOrigin(one))
})

test('of a blob that the registry turns out to have nothing is kept which is not all of it', async () => {
  await using under = await PushFixture.start()
  const location = await under.begin()
  const patch = under.open('PATCH', location, { 'content-length': bytes.byteLength })
  patch.on('error', () => undefined)
  patch.write(bytes.subarray(0, MIB))
  await under.origin.log.seen({ kind: 'upload', method: 'PATCH' })
  patch.destroy()
  await under.origin.log.idle()
  await under.origin.putBlob('team/app', bytes)
  under.origin.fault({ kind: 'upload', method: 'GET', fault: { status: 404 } })
  const { headers } = await under.ask('GET', location)
  const from = Number(headers.range?.slice(2)) + 1
  const rest = from === 1 ? bytes : bytes.subarray(from)
  assert.equal((await under.ask('PUT', `${location}?digest=${digest}`, { body: rest })).status, 201)
  assert.equal(await under.store.stat(digest), undefined)
  assert.deepEqual(await under.leftovers(), [])
})

test('a part of which nothing comes does not keep its upload from going on', async () => {
  await using under = await PushFixture.start()
  const location = await under.begin()
  const stuck = under.open('PATCH', location, { expect: '100-continue', 'content-length': 5 })
  stuck.flushHeaders()
  const answered = replyTo(stuck)
  await once(stuck, 'continue')
  assert.equal((await under.ask('PUT', `${location}?digest=${digest}`, { body: bytes })).status, 201)
  assert.equal((await answered).status, 500)
  stuck.destroy()
})

test('a registry that is down is said to be, nothing is promised, and the upload goes on once it is back', async () => {
  await using under = await PushFixture.start()
  const location = await under.begin()
  assert.equal((await under.ask('PATCH', location, { body: bytes })).status, 202)
  await under.origin.stop()
  for (const reply of [
    await under.ask('PUT', `${location}?digest=${digest}`, { body: EMPTY }),
    await under.ask('POST', `/v2/${under.path('team/app')}/blobs/uploads/`, { body: EMPTY }),
    await under.ask('PUT', `/v2/${under.path('team/app')}/manifests/1`, asManifest(manifestOf()))
  ]) {
    assert.equal(reply.status, 503)
    assert.match(errorOf(reply).message, /the registry cannot be reached/)
  }
  assert.equal(await under.store.stat(digest), undefined)
  await under.origin.start()
  assert.equal((await under.ask('PUT', `${location}?digest=${digest}`, { body: EMPTY })).status, 201)
  assert.ok(await under.hasAtOrigin(digest))
})

test('a push in one request that fails leaves nothing, for nobody could go on with it', async () => {
  await using under = await PushFixture.start()
  under.origin.fault({ kind: 'upload', method: 'PUT', fault: { status: 413 } })
  const path = `/v2/${under.path('team/app')}/blobs/uploads/?digest=${digest}`
  const refused = await under.ask('POST', path, { body: bytes })
  assert.deepEqual([refused.status, errorOf(refused).code], [403, 'DENIED'])
  assert.match(errorOf(refused).message, /answered 413/)
  under.origin.clearFaults()
  assert.equal((await under.ask('POST', path.replace(digest, digestOf(EMPTY)), { body: bytes })).status, 400)
  assert.deepEqual(await under.leftovers(), [])
  assert.equal(under.origin.log.count({ kind: 'upload', method: 'DELETE' }), 2)
})

test('a registry that wants credentials which this host has not is no challenge to the client', async () => {
  await using under = await PushFixture.start({ access: { type: 'basic', username: 'user', password: 'secret' } })
  const replies = [
    await under.ask('POST', `/v2/${under.path('team/app')}/blobs/uploads/`, { body: EMPTY }),
    await under.ask('PUT', `/v2/${under.path('team/app')}/manifests/1`, asManifest(manifestOf()))
  ]
  for (const reply of replies) {
    assert.deepEqual([reply.status, errorOf(reply).code], [403, 'DENIED'])
    assert.equal(reply.headers['www-authenticate'], undefined)
  }
})

test('what another repository of the registry has is mounted; else the upload that was opened is used', async () => {
  await using under = await PushFixture.start()
  await under.origin.putBlob('team/base', bytes)
  const post = (from: string) =>
    under.ask('POST', `/v2/${under.path('team/app')}/blobs/uploads/?mount=${digest}&from=${from}`, { body: EMPTY })
  assert.equal((await post(under.path('team/none'))).status, 202)
  assert.equal((await post('library/base')).status, 202)
  assert.equal(await under.hasAtOrigin(digest), false)
  const mounted = await post(under.path('team/base'))
  assert.deepEqual([mounted.status, mounted.headers['docker-content-digest']], [201, digest])
  assert.ok(await under.hasAtOrigin(digest))
  const named = `/v2/team/other/blobs/uploads/?ns=${encodeURIComponent(under.origin.host)}&mount=${digest}&from=team/base`
  assert.equal((await under.ask('POST', named, { body: EMPTY })).status, 201)
})

test('whether a blob is there already only the registry can say; a manifest is found here too while it cannot be asked', async () => {
  await using under = await PushFixture.start()
  const base = `/v2/${under.path('team/app')}`
  await under.pushChunked(bytes)
  const manifest = manifestOf()
  await under.ask('PUT', `${base}/manifests/1`, asManifest(manifest))
  const looks = async () =>
    await Promise.all(
      [`blobs/${digest}`, `manifests/${digestOf(manifest)}`, 'manifests/1'].map(
        async (path) => (await under.ask('HEAD', `${base}/${path}`)).status
      )
    )
  assert.deepEqual(await looks(), [200, 200, 200])
  // Where it lets nobody look, what is to be pushed is sent.
  for (const status of [404, 401, 403]) {
    under.origin.fault({ method: 'HEAD', fault: { status } })
    assert.deepEqual(await looks(), [404, 404, 404], `the registry says ${status}`)
    under.origin.clearFaults()
  }
  under.origin.fault({ method: 'HEAD', fault: { status: 500 } })
  assert.deepEqual(await looks(), [503, 200, 200])
  under.origin.clearFaults()
  await under.origin.stop()
  assert.deepEqual(await looks(), [503, 200, 200])
})

test("a manifest is the registry's to take: one whose blobs it lacks, too large, false or nonsense is refused", async () => {
  await using under = await PushFixture.start()
  const base = `/v2/${under.path('team/app')}/manifests`
  const refusals = [
    [await under.ask('PUT', `${base}/1`, asManifest(manifestOf())), 400, 'MANIFEST_BLOB_UNKNOWN'],
    [await under.ask('PUT', `${base}/1`, asManifest(Buffer.from('{}'))), 400, 'MANIFEST_INVALID'],
    [await under.ask('PUT', `${base}/${digest}`, asManifest(manifestOf())), 400, 'DIGEST_INVALID'],
    [await under.ask('PUT', `${base}/1`, { headers: { 'content-length': 4 * MIB + 1 } }), 413, 'SIZE_INVALID']
  ] as const
  for (const [reply, status, code] of refusals) assert.deepEqual([reply.status, errorOf(reply).code], [status, code])
  assert.equal(under.origin.tag('team/app', '1'), undefined)
  assert.deepEqual(await Array.fromAsync(under.store.list()), [])
})

test('what the registry says of referrers is passed on, and so is what it does not say', async () => {
  await using under = await PushFixture.start()
  await under.pushChunked(bytes)
  const subject = { mediaType: MEDIA_TYPES.ociManifest, digest, size: 3 }
  const put = () =>
    under.ask('PUT', `/v2/${under.path('team/app')}/manifests/1`, asManifest(manifestOf(digest, bytes.byteLength, { subject })))
  assert.equal((await put()).headers['oci-subject'], undefined)
  under.origin.fault({ kind: 'manifest', method: 'PUT', fault: { headers: { 'oci-subject': digest } } })
  assert.equal((await put()).headers['oci-subject'], digest)
})

test('a store that is full is said to be, and takes the push once there is room', async () => {
  await using under = await PushFixture.start({ maxBytes: 1000 })
  const location = await under.begin()
  const patch = under.open('PATCH', location)
  patch.on('error', () => undefined)
  patch.write(bytes.subarray(0, 1000))
  const reply = await replyTo(patch)
  assert.equal(reply.status, 503)
  assert.match(errorOf(reply).message, /the store cannot take more/)
  patch.destroy()
  assert.equal((await under.ask('DELETE', location)).status, 204)
  assert.deepEqual(await under.leftovers(), [])
  assert.equal(under.origin.log.count({ kind: 'upload', method: 'DELETE' }), 1)
})

test('a mirror takes no pushes unless it is told to, and none for a web page; nothing is deleted through it', async () => {
  await using closed = await PushFixture.start({ takes: false })
  for (const [method, path] of [
    ['POST', 'blobs/uploads/'],
    ['PUT', 'manifests/1'],
    ['DELETE', 'manifests/1']
  ] as const) {
    const reply = await closed.ask(method, `/v2/${closed.path('team/app')}/${path}`, { body: EMPTY })
    assert.deepEqual([reply.status, errorOf(reply).code, reply.headers.allow], [405, 'UNSUPPORTED', 'GET, HEAD'])
    assert.match(errorOf(reply).message, /takes no pushes/)
  }
  assert.equal((await closed.ask('GET', `/v2/${closed.path('team/app')}/blobs/uploads/1`)).status, 404)
  await using under = await PushFixture.start()
  const base = `/v2/${under.path('team/app')}`
  const page = await under.ask('POST', `${base}/blobs/uploads/`, { body: EMPTY, headers: { origin: 'https://example.com' } })
  assert.deepEqual([page.status, errorOf(page).code], [403, 'DENIED'])
  for (const path of [`blobs/${digest}`, 'manifests/1']) assert.equal((await under.ask('DELETE', `${base}/${path}`)).status, 405)
  assert.equal((await under.ask('POST', '/v2/other.example.com/app/blobs/uploads/', { body: EMPTY })).status, 404)
  const unnamed = await under.ask('POST', '/v2/team/app/blobs/uploads/', { body: EMPTY })
  assert.deepEqual([unnamed.status, errorOf(unnamed).code], [400, 'NAME_INVALID'])
  assert.match(errorOf(unnamed).message, /must name its registry/)
  assert.equal((await under.ask('PUT', `${await under.begin()}?digest=sha256:1`, { body: EMPTY })).status, 400)
  assert.equal(under.origin.log.count({ kind: 'manifest' }), 0)
})

test('a connection serves again after a push, and ends where a body was not taken', async () => {
  await using under = await PushFixture.start()
  const location = await under.begin()
  const patch = under.open('PATCH', location, { expect: '100-continue', 'content-length': bytes.byteLength })
  const [socket] = await once(patch, 'socket')
  patch.flushHeaders()
  await once(patch, 'continue')
  patch.end(bytes)
  const { status, headers } = await replyTo(patch)
  assert.deepEqual([status, headers.connection], [202, 'keep-alive'])
  const again = under.open('GET', location)
  again.end()
  assert.equal((await once(again, 'socket'))[0], socket)
  await replyTo(again)
})
