import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { asManifest, bytes, digest, EMPTY, manifestOf, PushFixture, replyTo } from './push-fixture.ts'

const MIB = 1024 * 1024
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
