import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import type { SourceCounts } from '@layerswarm/agent/ports.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { type ErrorCode, LayerswarmError } from '@layerswarm/core/errors.ts'
import { MAX_MANIFEST_BYTES, MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { Fixture, SCOPE } from './mirror-fixture.ts'

const LAYER = new SeededRandom('layer').bytes(300_000)

/** A response whose body is read by the test. */
async function begin(mirror: Fixture, path: string): Promise<{ request: ClientRequest; response: IncomingMessage }> {
  const request = httpRequest({ host: '127.0.0.1', port: mirror.port, path, agent: false })
  request.on('error', () => undefined)
  request.end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return { request, response }
}

async function stillAlive(mirror: Fixture): Promise<void> {
  assert.equal((await mirror.ask('/v2/')).status, 200)
}

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
    const { response } = await begin(mirror, `/v2/app/blobs/${layer.digest}`)
    assert.equal(response.headers['content-length'], '300000')
    const got: Buffer[] = []
    response.on('data', (chunk) => got.push(chunk))
    const [error] = await once(response, 'error')
    assert.equal(error.code, 'ECONNRESET')
    assert.ok(Buffer.concat(got).equals(LAYER.subarray(0, Buffer.concat(got).byteLength)))
    await stillAlive(mirror)
    assert.ok(mirror.outcomes().includes('blob cut'))
    assert.equal(mirror.content.held, 0)
  })

  test('that is too short is cut too', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 200_000, ends: true })
    await assert.rejects(mirror.ask(`/v2/app/blobs/${layer.digest}`))
    await stillAlive(mirror)
  })

  test('that never goes on is cut after a minute of silence', async () => {
    const clock = new ManualClock()
    await using mirror = await Fixture.start({ clock })
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 100_000 })
    const { response } = await begin(mirror, `/v2/app/blobs/${layer.digest}`)
    response.resume()
    const cut = once(response, 'error')
    await clock.advance(59_000)
    assert.equal(mirror.content.held, 1)
    await clock.advance(2_000)
    await cut
    assert.ok(mirror.outcomes().includes('blob cut'))
  })
})

describe('waiting for the first byte', () => {
  const start = async () => {
    const clock = new ManualClock()
    const mirror = await Fixture.start({ clock })
    const { layer } = mirror.image(LAYER)
    const counts: { -readonly [K in keyof SourceCounts]: number } = { local: 0, peer: 0, registry: 0 }
    mirror.content.faults.set(layer.digest, { after: 0, counts })
    const opened = once(mirror.content.events, 'opened')
    return { clock, mirror, layer, counts, opened }
  }

  test('containerd is sent elsewhere after 5 s in which nothing moves', async () => {
    const { clock, mirror, layer, opened } = await start()
    await using _ = mirror
    const reply = mirror.ask(`/v2/library/app/blobs/${layer.digest}?ns=docker.io`)
    await opened
    await clock.advance(4_500)
    assert.equal(mirror.content.held, 1)
    await clock.advance(1_000)
    assert.equal((await reply).status, 504)
    assert.equal(mirror.content.held, 0)
  })

  test('while bytes arrive it waits, but not beyond 25 s', async () => {
    const { clock, mirror, layer, counts, opened } = await start()
    await using _ = mirror
    const reply = mirror.ask(`/v2/library/app/blobs/${layer.digest}?ns=docker.io`)
    await opened
    for (let second = 0; second < 24; second++) {
      counts.peer += 1000
      await clock.advance(1_000)
    }
    assert.equal(mirror.content.held, 1)
    await clock.advance(1_500)
    assert.equal((await reply).status, 504)
  })

  test('bytes of a piece that is not whole yet are arriving bytes, too', async () => {
    const { clock, mirror, layer, opened } = await start()
    await using _ = mirror
    let moved = 0
    mirror.content.faults.set(layer.digest, { after: 0, counts: { local: 0, peer: 0, registry: 0 }, moved: () => moved })
    const reply = mirror.ask(`/v2/library/app/blobs/${layer.digest}?ns=docker.io`)
    await opened
    for (let second = 0; second < 20; second++) {
      moved += 1000
      await clock.advance(1_000)
    }
    assert.equal(mirror.content.held, 1)
    await clock.advance(5_500)
    assert.equal((await reply).status, 504)
  })

  for (const [who, path, range] of [
    ['a client that names no ns', '', ''],
    ['containerd in the middle of a blob', '?ns=docker.io', 'bytes=1000-']
  ] as const) {
    test(`${who} has nowhere else to go: it waits as long as anything moves, and a minute when nothing does`, async () => {
      const { clock, mirror, layer, counts, opened } = await start()
      await using _ = mirror
      const reply = mirror.ask(`/v2/library/app/blobs/${layer.digest}${path}`, range === '' ? {} : { range })
      await opened
      for (let step = 0; step < 3; step++) {
        counts.registry += 1000
        await clock.advance(50_000)
      }
      assert.equal(mirror.content.held, 1)
      await clock.advance(61_000)
      assert.equal((await reply).status, 504)
    })
  }

  test('a HEAD is answered within 2.5 s, a registry that hangs or not', async () => {
    const clock = new ManualClock()
    await using mirror = await Fixture.start({ clock })
    mirror.registry.hangs = true
    for (const path of [
      '/v2/app/manifests/latest',
      `/v2/app/manifests/sha256:${'1'.repeat(64)}`,
      `/v2/app/blobs/sha256:${'1'.repeat(64)}`
    ]) {
      const called = once(mirror.registry.events, 'call')
      const reply = mirror.ask(path, {}, 'HEAD')
      await called
      await clock.advance(2_500)
      assert.equal((await reply).status, 503, path)
    }
  })

  test('a manifest that does not come sends its client elsewhere after 5 s', async () => {
    const clock = new ManualClock()
    await using mirror = await Fixture.start({ clock })
    const { manifest } = mirror.image(LAYER)
    mirror.content.faults.set(manifest.digest, { after: 0 })
    const opened = once(mirror.content.events, 'opened')
    const reply = mirror.ask('/v2/app/manifests/latest')
    await opened
    await clock.advance(5_000)
    assert.equal((await reply).status, 504)
  })
})

describe('clients that go away', () => {
  test('end the work at once, and count as no error', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 100_000 })
    const { request } = await begin(mirror, `/v2/app/blobs/${layer.digest}`)
    const closed = once(mirror.content.events, 'closed')
    request.destroy()
    await closed
    await stillAlive(mirror)
    assert.equal(mirror.content.held, 0)
    const line = mirror.lines.find(({ msg }) => msg === 'blob aborted')
    assert.equal(line?.level, 'debug')
  })

  test('before the first byte, too', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 0 })
    const opened = once(mirror.content.events, 'opened')
    const closed = once(mirror.content.events, 'closed')
    const request = httpRequest({ host: '127.0.0.1', port: mirror.port, path: `/v2/app/blobs/${layer.digest}`, agent: false })
    request.on('error', () => undefined)
    request.end()
    await opened
    request.destroy()
    await closed
  })

  test('also from behind another request on the same connection', async () => {
    await using mirror = await Fixture.start()
    const { layer, config } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 100_000 })
    const socket = connect(mirror.port, '127.0.0.1')
    const two = [layer, config].map(({ digest }) => `GET /v2/app/blobs/${digest} HTTP/1.1\r\nHost: x\r\n\r\n`)
    socket.write(two.join(''))
    await once(mirror.content.events, 'waiting')
    assert.equal(mirror.content.held, 2)
    socket.destroy()
    while (mirror.content.held > 0) await once(mirror.content.events, 'closed')
  })

  test('a client that does not read is sent no more than the sockets hold', async () => {
    await using mirror = await Fixture.start()
    const large = new SeededRandom('large').bytes(64 * 1024 * 1024)
    const { layer } = mirror.image(large)
    const { request, response } = await begin(mirror, `/v2/app/blobs/${layer.digest}`)
    response.pause()
    await once(mirror.content.events, 'waiting')
    assert.ok(mirror.content.given < 32 * 1024 * 1024, `${mirror.content.given} bytes`)
    const closed = once(mirror.content.events, 'closed')
    request.destroy()
    await closed
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
      await stillAlive(mirror)
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

describe('what is not HTTP as it should be', () => {
  const hosted = (line: string, ...headers: string[]) => `${[line, 'Host: mirror', 'Connection: close', ...headers].join('\r\n')}\r\n\r\n`

  for (const [what, bytes, status] of [
    ['a path that climbs', hosted('GET /v2/../../etc/passwd HTTP/1.1'), 404],
    ['a name that climbs', hosted('GET /v2/a/../../manifests/1 HTTP/1.1'), 400],
    ['an encoded climb', hosted('GET /v2/%2e%2e/%2e%2e/manifests/1 HTTP/1.1'), 400],
    ['a NUL', hosted('GET /v2/a%00/manifests/1 HTTP/1.1'), 400],
    ['a raw NUL', hosted('GET /v2/a\0/manifests/1 HTTP/1.1'), 400],
    ['a broken escape', hosted('GET /v2/a%/manifests/1 HTTP/1.1'), 400],
    ['the absolute form', hosted('GET http://registry.example.com/v2/library/app/manifests/latest HTTP/1.1'), 404],
    ['a very long path', hosted(`GET /v2/${'a'.repeat(20_000)}/manifests/1 HTTP/1.1`), 400],
    ['a longer path than headers may be', hosted(`GET /v2/${'a'.repeat(200_000)}/manifests/1 HTTP/1.1`), 431],
    ['too large a header', hosted('GET /v2/ HTTP/1.1', `X: ${'a'.repeat(200_000)}`), 431],
    ['too many headers', hosted('GET /v2/ HTTP/1.1', ...Array.from({ length: 20_000 }, (_, at) => `X${at}: y`)), 431],
    ['a header without a name', hosted('GET /v2/ HTTP/1.1', ': x'), 400],
    ['a line that is none', 'garbage\r\n\r\n', 400],
    ['another protocol', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    ['an unknown method', hosted('PROPFIND /v2/app/manifests/1 HTTP/1.1'), 405],
    ['a range of garbage', hosted('GET /v2/ HTTP/1.1', `Range: bytes=${'9'.repeat(5000)}-`), 200]
  ] as const) {
    test(`${what} is answered ${status}`, async () => {
      await using mirror = await Fixture.start()
      mirror.image(LAYER)
      const reply = await mirror.raw(bytes)
      assert.match(reply, new RegExp(`^HTTP/1\\.1 ${status} `))
      if (status !== 200) assert.match(reply, /\r\nContent-Type: application\/json\r\n/i)
      assert.deepEqual(mirror.registry.calls, [])
      await stillAlive(mirror)
    })
  }

  test('CONNECT is not served', async () => {
    await using mirror = await Fixture.start()
    assert.equal(await mirror.raw('CONNECT registry.example.com:443 HTTP/1.1\r\nHost: registry.example.com\r\n\r\n'), '')
    await stillAlive(mirror)
  })

  test('garbage behind a request never gets into its answer', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 100_000 })
    const socket = connect(mirror.port, '127.0.0.1')
    socket.write(`GET /v2/app/blobs/${layer.digest} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await once(mirror.content.events, 'waiting')
    socket.write('garbage\r\n\r\n')
    const reply = await text(socket)
    assert.match(reply, /^HTTP\/1\.1 200 OK/)
    assert.doesNotMatch(reply, /HTTP\/1\.1 400/)
    await stillAlive(mirror)
  })
})

describe('closing', () => {
  test('running responses end, new connections are refused, idle ones closed', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    const gate = Promise.withResolvers<void>()
    mirror.content.faults.set(layer.digest, { gate: gate.promise })
    const agent = new Agent({ keepAlive: true })
    const opened = once(mirror.content.events, 'opened')
    const request = httpRequest({ host: '127.0.0.1', port: mirror.port, path: `/v2/app/blobs/${layer.digest}`, agent })
    request.end()
    await opened
    const closed = mirror.mirror.close()
    await assert.rejects(mirror.ask('/v2/'), { code: 'ECONNREFUSED' })
    gate.resolve()
    const [response] = await once(request, 'response')
    const chunks: Buffer[] = await response.toArray()
    assert.equal(digestOf(Buffer.concat(chunks)), layer.digest)
    await closed
    agent.destroy()
  })

  test('those that do not end in time are cut', async () => {
    const clock = new ManualClock()
    await using mirror = await Fixture.start({ clock, drainMs: 5_000 })
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 100_000 })
    const { response } = await begin(mirror, `/v2/app/blobs/${layer.digest}`)
    response.resume()
    const cut = once(response, 'error')
    const closed = mirror.mirror.close()
    await clock.advance(5_000)
    await cut
    await closed
  })

  test('a port in use is told', async () => {
    await using mirror = await Fixture.start()
    await assert.rejects(Fixture.start({ port: mirror.port }), { code: 'LISTEN_FAILED' })
  })
})
