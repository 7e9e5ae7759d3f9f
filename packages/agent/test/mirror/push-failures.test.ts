import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { asManifest, bytes, digest, EMPTY, errorOf, manifestOf, PushFixture, replyTo } from './push-fixture.ts'

const MIB = 1024 * 1024
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
