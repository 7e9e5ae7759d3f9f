import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { Fixture } from './mirror-fixture.ts'

const LAYER = new SeededRandom('layer').bytes(300_000)

describe('clients that go away', () => {
  test('end the work at once, and count as no error', async () => {
    await using mirror = await Fixture.start()
    const { layer } = mirror.image(LAYER)
    mirror.content.faults.set(layer.digest, { after: 100_000 })
    const { request } = await mirror.begin(`/v2/app/blobs/${layer.digest}`)
    const closed = once(mirror.content.events, 'closed')
    request.destroy()
    await closed
    await mirror.assertAlive()
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
    const { request, response } = await mirror.begin(`/v2/app/blobs/${layer.digest}`)
    response.pause()
    await once(mirror.content.events, 'waiting')
    assert.ok(mirror.content.given < 32 * 1024 * 1024, `${mirror.content.given} bytes`)
    const closed = once(mirror.content.events, 'closed')
    request.destroy()
    await closed
  })
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
      await mirror.assertAlive()
    })
  }

  test('CONNECT is not served', async () => {
    await using mirror = await Fixture.start()
    assert.equal(await mirror.raw('CONNECT registry.example.com:443 HTTP/1.1\r\nHost: registry.example.com\r\n\r\n'), '')
    await mirror.assertAlive()
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
    await mirror.assertAlive()
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
    const { response } = await mirror.begin(`/v2/app/blobs/${layer.digest}`)
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
