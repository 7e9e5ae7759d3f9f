import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { type ErrorCode, LayerswarmError } from '@layerswarm/core/errors.ts'
import { MAX_MANIFEST_BYTES, MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { Fixture, SCOPE } from './mirror-fixture.ts'

const LAYER = new SeededRandom('layer').bytes(300_000)

describe('a failure before the headers is an answer', () => {
  for (const [code, status] of [
    ['NOT_FOUND', 404],
    ['REGISTRY_DENIED', 404],
    ['REGISTRY_UNREACHABLE', 503],
    ['REGISTRY_FAILED', 503],
    ['REGISTRY_BUSY', 503],
    ['DIGEST_MISMATCH', 503],
    ['SIZE_MISMATCH', 503],
    ['STORE_FULL', 503],
    ['STORE_FAILED', 503],
    ['STALLED', 504]
  ] as const satisfies readonly (readonly [ErrorCode, number])[]) {
    test(`${code} is ${status}`, async () => {
      await using mirror = await Fixture.start()
      const { layer } = mirror.image(LAYER)
      for (const fault of [{ openError: new LayerswarmError(code) }, { after: 0, error: new LayerswarmError(code) }]) {
        mirror.content.faults.set(layer.digest, fault)
        const reply = await mirror.ask(`/v2/app/blobs/${layer.digest}`)
        assert.equal(reply.status, status)
        assert.equal(JSON.parse(reply.body.toString()).errors[0].detail.code, code)
        assert.equal(reply.headers['www-authenticate'], undefined)
      }
      assert.equal(mirror.content.held, 0)
    })
  }

  test('what nobody foresaw is 500, and tells nothing of the inside', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { openError: new TypeError('secret inside') })
    const reply = await mirror.ask(`/v2/app/blobs/${layer.digest}`)
    assert.equal(reply.status, 500)
    assert.doesNotMatch(reply.body.toString(), /secret/)
    assert.match(JSON.stringify(mirror.lines), /secret inside/)
  })

  test('a blob of another size than its manifest says is not begun', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    await mirror.index.link(SCOPE, [{ ...layer, size: 1000 }])
    const reply = await mirror.ask(`/v2/app/blobs/${layer.digest}`)
    assert.equal(reply.status, 503)
    assert.equal(JSON.parse(reply.body.toString()).errors[0].detail.code, 'SIZE_MISMATCH')
  })

  test('a registry that limits requests is never passed on as 429', async () => {
    await using mirror = await Fixture.start()
    mirror.registry.error = new LayerswarmError('REGISTRY_BUSY')
    assert.equal((await mirror.ask('/v2/app/manifests/latest')).status, 503)
  })
})

describe('a failure within the body', () => {
  test('cuts the connection, and what was sent is right', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 100_000, error: new LayerswarmError('DIGEST_MISMATCH') })
    const { response } = await mirror.begin(`/v2/app/blobs/${layer.digest}`)
    assert.equal(response.headers['content-length'], '300000')
    const got: Buffer[] = []
    response.on('data', (chunk) => got.push(chunk))
    const [error] = await once(response, 'error')
    assert.equal(error.code, 'ECONNRESET')
    assert.ok(Buffer.concat(got).equals(LAYER.subarray(0, Buffer.concat(got).byteLength)))
    await mirror.assertAlive()
    assert.ok(mirror.outcomes().includes('blob cut'))
    assert.equal(mirror.content.held, 0)
  })

  test('that is too short is cut too', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 200_000, ends: true })
    await assert.rejects(mirror.ask(`/v2/app/blobs/${layer.digest}`))
    await mirror.assertAlive()
  })

  test('that never goes on is cut after a minute of silence', async () => {
    const clock = new ManualClock()
    await using mirror = await Fixture.start({ clock })
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 100_000 })
    const { response } = await mirror.begin(`/v2/app/blobs/${layer.digest}`)
    response.resume()
    const cut = once(response, 'error')
    await clock.advance(59_000)
    assert.equal(mirror.content.held, 1)
    await clock.advance(2_000)
    await cut
    assert.ok(mirror.outcomes().includes('blob cut'))
  })
})

describe('manifests that are none', () => {
  for (const [what, bytes] of [
    ['not JSON', Buffer.from('<html>')],
    ['both an index and a manifest', Buffer.from('{"schemaVersion":2,"manifests":[],"layers":[]}')],
    ['of schema 1', Buffer.from('{"schemaVersion":1,"name":"a"}')],
    ['larger than 4 MiB', Buffer.alloc(MAX_MANIFEST_BYTES + 1, ' ')]
  ] as const) {
    test(`${what}: a miss`, async () => {
      await using mirror = await Fixture.start()
      mirror.put(SCOPE, 'manifest', bytes, MEDIA_TYPES.ociManifest, 'bad')
      const reply = await mirror.ask('/v2/app/manifests/bad')
      assert.equal(reply.status, 404)
      assert.equal(JSON.parse(reply.body.toString()).errors[0].code, 'MANIFEST_INVALID')
      await mirror.assertAlive()
    })
  }

  test('bytes of another digest are not given out', async () => {
    await using mirror = await Fixture.start()
    const { manifest } = mirror.image(LAYER)
    mirror.content.blobs.set(manifest.digest, Buffer.from('{"schemaVersion":2,"manifests":[]}'))
    const reply = await mirror.ask('/v2/app/manifests/latest')
    assert.equal(reply.status, 503)
  })
})

describe('stale tags', () => {
  test('the last known digest is used, with a warning, while the registry cannot be asked', async () => {
    const clock = new ManualClock()
    await using mirror = await Fixture.start({ clock })
    const { manifest } = mirror.image(LAYER)
    assert.equal((await mirror.ask('/v2/app/manifests/latest')).headers.warning, undefined)
    mirror.registry.error = new LayerswarmError('REGISTRY_UNREACHABLE')
    await clock.advance(31_000)
    for (const method of ['HEAD', 'GET']) {
      const reply = await mirror.ask('/v2/app/manifests/latest', {}, method)
      assert.equal(reply.status, 200)
      assert.equal(reply.headers['docker-content-digest'], manifest.digest)
      assert.match(reply.headers.warning ?? '', /^299 - "docker\.io cannot be asked: this is what the tag pointed to at 20/)
    }
    assert.ok(mirror.lines.some(({ level, msg }) => level === 'warn' && msg === 'tag served as last known here'))
  })

  test('are not served where configuration says so', async () => {
    const clock = new ManualClock()
    await using mirror = await Fixture.start({ clock, staleTags: 'off' })
    mirror.image(LAYER)
    await mirror.ask('/v2/app/manifests/latest')
    mirror.registry.error = new LayerswarmError('REGISTRY_UNREACHABLE')
    await clock.advance(31_000)
    assert.equal((await mirror.ask('/v2/app/manifests/latest')).status, 503)
  })
})

test('a manifest of no known type is not given out as a blob, read or not', async () => {
  await using mirror = await Fixture.start()
  const index = mirror.put(SCOPE, 'manifest', Buffer.from('{"schemaVersion":2,"manifests":[]}'), 'application/octet-stream', 'odd')
  assert.equal((await mirror.ask(`/v2/app/manifests/${index.digest}`, { 'if-none-match': '*' })).status, 304)
  assert.equal((await mirror.ask(`/v2/app/blobs/${index.digest}`)).status, 404)
  assert.equal((await mirror.ask('/v2/app/manifests/odd')).status, 200)
  assert.equal((await mirror.ask(`/v2/app/blobs/${index.digest}`)).status, 404)
})
