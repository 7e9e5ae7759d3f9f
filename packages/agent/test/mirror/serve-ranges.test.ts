import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { errorOf, Fixture } from './mirror-fixture.ts'

const LAYER = new SeededRandom('layer').bytes(300_000)

describe('ranges', () => {
  const ask = async (mirror: Fixture, digest: string, headers: Record<string, string>, method = 'GET') =>
    await mirror.ask(`/v2/app/blobs/${digest}`, headers, method)

  test('one range of a blob', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    for (const [range, start, end] of [
      ['bytes=0-', 0, 300_000],
      ['bytes=100-199', 100, 200],
      ['bytes=299999-', 299_999, 300_000],
      ['bytes=-10', 299_990, 300_000],
      ['bytes=0-999999999', 0, 300_000]
    ] as const) {
      const reply = await ask(mirror, layer.digest, { range })
      assert.equal(reply.status, 206)
      assert.equal(reply.headers['content-range'], `bytes ${start}-${end - 1}/300000`)
      assert.equal(reply.headers['content-length'], String(end - start))
      assert.ok(reply.body.equals(LAYER.subarray(start, end)))
    }
    const head = await ask(mirror, layer.digest, { range: 'bytes=0-1' }, 'HEAD')
    assert.equal(head.status, 200)
    assert.equal(head.headers['content-length'], '300000')
  })

  test('beyond the end, reversed, and of nothing: 416 with the size', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    for (const range of ['bytes=300000-', 'bytes=500-0', 'bytes=-0']) {
      const reply = await ask(mirror, layer.digest, { range })
      assert.equal(reply.status, 416)
      assert.equal(reply.headers['content-range'], 'bytes */300000')
      errorOf(reply.body)
    }
    assert.equal(mirror.content.opened.length, 0)
  })

  test('malformed and foreign ones are ignored', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    for (const range of ['bytes=x-y', 'items=0-1', 'bytes', 'bytes=1-2-3']) {
      const reply = await ask(mirror, layer.digest, { range })
      assert.equal(reply.status, 200)
      assert.equal(reply.body.byteLength, 300_000)
    }
  })

  test('several ranges come as parts of exactly the announced length', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    const reply = await ask(mirror, layer.digest, { range: 'bytes=5-9,100000-269999,-3' })
    assert.equal(reply.status, 206)
    const boundary = /^multipart\/byteranges; boundary=(\w+)$/.exec(reply.headers['content-type'] ?? '')?.[1] ?? ''
    const head = (start: number, end: number) =>
      `--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${start}-${end - 1}/300000\r\n\r\n`
    const expected = Buffer.concat([
      Buffer.from(head(5, 10)),
      LAYER.subarray(5, 10),
      Buffer.from(`\r\n${head(100_000, 270_000)}`),
      LAYER.subarray(100_000, 270_000),
      Buffer.from(`\r\n${head(299_997, 300_000)}`),
      LAYER.subarray(299_997),
      Buffer.from(`\r\n--${boundary}--\r\n`)
    ])
    assert.equal(reply.headers['content-length'], String(expected.byteLength))
    assert.ok(reply.body.equals(expected))
    assert.equal((await ask(mirror, layer.digest, { range: 'bytes=300000-,400000-' })).status, 200)
  })

  test('If-Range with another tag or a date gives the whole', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    const range = 'bytes=0-1'
    assert.equal((await ask(mirror, layer.digest, { range, 'if-range': `"${layer.digest}"` })).status, 206)
    assert.equal((await ask(mirror, layer.digest, { range, 'if-range': '"other"' })).status, 200)
    assert.equal((await ask(mirror, layer.digest, { range, 'if-range': 'Wed, 21 Oct 2015 07:28:00 GMT' })).status, 200)
  })

  test('a manifest has ranges too, since parallel containerd asks for them', async () => {
    await using mirror = await Fixture.start()
    const { manifest } = mirror.image(LAYER)
    const reply = await mirror.ask(`/v2/app/manifests/${manifest.digest}`, { range: 'bytes=0-' })
    assert.equal(reply.status, 206)
    assert.equal(reply.headers['content-type'], MEDIA_TYPES.ociManifest)
    assert.equal(reply.headers['content-range'], `bytes 0-${manifest.size - 1}/${manifest.size}`)
    assert.equal(digestOf(reply.body), manifest.digest)
  })
})
