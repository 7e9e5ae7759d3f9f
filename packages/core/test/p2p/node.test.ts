import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { test } from 'node:test'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { isLayerswarmError } from '../../src/errors.ts'
import { newIdentity } from '../../src/p2p/identity.ts'
import { encrypters, NOISE_TLS_PROTOCOL } from '../../src/p2p/noise-tls.ts'
import { connectedPair, loopbackNode, nextEvent, proxy, streamPair } from './pair.ts'

const KEY = randomBytes(32)
const unreachable = (error: unknown) => isLayerswarmError(error, 'PEER_UNREACHABLE')

test('nodes with the same cluster key connect, over Noise and TLS, and know each other', async () => {
  await using a = await loopbackNode({ clusterKey: KEY })
  await using b = await loopbackNode({ clusterKey: KEY })
  const seen = nextEvent(a, 'up')
  assert.equal(await b.connect(a.addresses), a.id)
  assert.equal(await seen, b.id)
  assert.equal(b.encryptionOf(a.id), NOISE_TLS_PROTOCOL)
  assert.equal(a.encryptionOf(b.id), NOISE_TLS_PROTOCOL)
  assert.deepEqual(a.connected(), [b.id])
  assert.match(a.addressOf(b.id) ?? '', /^\/ip4\/127\.0\.0\.1\/tcp\/\d+$/)
  assert.equal(await b.connect([], { peer: a.id }), a.id)
})

test('without the same cluster key no handshake completes, in either direction', async () => {
  for (const [ours, theirs] of [
    [KEY, randomBytes(32)],
    [KEY, undefined],
    [undefined, KEY]
  ]) {
    await using a = await loopbackNode(ours === undefined ? {} : { clusterKey: ours })
    await using b = await loopbackNode(theirs === undefined ? {} : { clusterKey: theirs })
    a.subscribe(() => assert.fail('connected'))
    await assert.rejects(b.connect(a.addresses, { peer: a.id }), (error) => unreachable(error) && /same cluster key/.test(String(error)))
    assert.deepEqual([a.connected(), b.connected()], [[], []])
  }
})

test('a host that only has plain Noise still connects, with the same key alone', async () => {
  await using a = await loopbackNode({ clusterKey: KEY })
  for (const [key, works] of [
    [KEY, true],
    [randomBytes(32), false]
  ] as const) {
    const plain = await createLibp2p({
      transports: [tcp()],
      connectionEncrypters: encrypters(key).slice(1),
      streamMuxers: [yamux()],
      connectionMonitor: { enabled: false }
    })
    try {
      const dial = plain.dial(multiaddr(a.addresses[0] ?? ''))
      if (works) assert.equal((await dial).encryption, '/noise')
      else await assert.rejects(dial)
    } finally {
      await plain.stop()
    }
  }
})

test('another host than the expected one is not connected to', async () => {
  await using a = await loopbackNode()
  await using b = await loopbackNode()
  await assert.rejects(b.connect(a.addresses, { peer: (await newIdentity()).id }), unreachable)
  await assert.rejects(b.connect(['/ip4/127.0.0.1/tcp/1', 'nonsense'], { peer: a.id }), unreachable)
  await assert.rejects(b.connect([], { peer: a.id }), unreachable)
  const reason = new Error('enough')
  await assert.rejects(b.connect(a.addresses, { peer: a.id, signal: AbortSignal.abort(reason) }), reason)
})

test('garbage, oversized and silent connections are closed in bounded time, and hosts still get in', async () => {
  await using a = await loopbackNode({ handshakeMs: 300 })
  const openings = [
    Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    randomBytes(64 * 1024),
    Buffer.alloc(1024 * 1024, 0xff),
    Buffer.concat([Buffer.from('\x13/multistream/1.0.0\n'), Buffer.from(`\x1a${NOISE_TLS_PROTOCOL}\n`), randomBytes(70_000)]),
    Buffer.alloc(0)
  ]
  await Promise.all(
    openings.map(async (bytes) => {
      const socket = connect(a.port ?? 0, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.resume()
      if (bytes.byteLength > 0) socket.write(bytes)
      await new Promise((resolve) => socket.once('close', resolve))
    })
  )
  await using b = await loopbackNode()
  await b.connect(a.addresses, { peer: a.id })
})

test('a byte changed on the way closes the connection at both ends', async () => {
  await using a = await loopbackNode()
  await using b = await loopbackNode()
  let armed = false
  await using between = await proxy(a, (chunk) => {
    if (!armed) return chunk
    const changed = Buffer.from(chunk)
    changed[changed.byteLength - 1] = (changed.at(-1) ?? 0) ^ 1
    return changed
  })
  await b.connect([between.address], { peer: a.id })
  const { opener, holder } = await streamPair({ a, b })
  const received: Uint8Array[] = []
  const handlers = { onMessage: (body: Uint8Array) => void received.push(body), onClose: () => undefined }
  holder.start(handlers)
  opener.start(handlers)
  const down = Promise.all([nextEvent(a, 'down'), nextEvent(b, 'down')])
  armed = true
  opener.send({ hello: 1 })
  assert.deepEqual(await down, [b.id, a.id])
  assert.deepEqual(received, [])
})

test('a host that expects little traffic takes Noise alone, from one that offers both', async () => {
  await using a = await loopbackNode({ bulk: false })
  await using b = await loopbackNode()
  await b.connect(a.addresses, { peer: a.id })
  const { opener, holder } = await streamPair({ a, b })
  const { promise: heard, resolve } = Promise.withResolvers<Uint8Array>()
  holder.start({ onMessage: resolve, onClose: () => undefined })
  opener.start({ onMessage: () => undefined, onClose: () => undefined })
  opener.send({ hello: 1 })
  await heard
  assert.deepEqual([a.encryptionOf(b.id), b.encryptionOf(a.id)], ['/noise', '/noise'])
})

test('a busy port is LISTEN_FAILED and names the address', async () => {
  await using a = await loopbackNode()
  await assert.rejects(
    loopbackNode({ listen: { host: '127.0.0.1', port: a.port ?? 0 } }),
    (error) => isLayerswarmError(error, 'LISTEN_FAILED') && String(error).includes(`127.0.0.1:${a.port}: EADDRINUSE`)
  )
})

test('a peer of another protocol version is told apart from one that cannot be reached', async () => {
  await using nodes = await connectedPair()
  await nodes.a.handle('/layerswarm/get/2', { maxMessage: 100 }, () => undefined)
  await assert.rejects(nodes.b.open(nodes.a.id, '/layerswarm/get/1', { maxMessage: 100 }), (error) =>
    isLayerswarmError(error, 'PEER_VERSION')
  )
  await assert.rejects(nodes.b.open((await newIdentity()).id, '/layerswarm/get/2', { maxMessage: 100 }), unreachable)
})

test('a banned peer is cut off and stays out, whoever dials', async () => {
  await using nodes = await connectedPair()
  const { a, b } = nodes
  const down = nextEvent(b, 'down')
  a.ban(b.id, 'lied')
  assert.equal(await down, a.id)
  await assert.rejects(a.connect(b.addresses, { peer: b.id }), unreachable)
  // The dialler believes itself connected until the other end hangs up: what counts is that this one never is.
  const attempt = b.connect(a.addresses, { peer: a.id }).catch(() => undefined)
  await Promise.race([attempt.then(async () => (b.isConnected(a.id) ? await nextEvent(b, 'down') : undefined)), nextEvent(b, 'down')])
  assert.equal(a.isConnected(b.id), false)
})

test('no more connections than allowed, even when all come at once', async () => {
  await using a = await loopbackNode({ maxConnections: 2 })
  await using others = new AsyncDisposableStack()
  const dial = async () => {
    const other = others.use(await loopbackNode())
    const gone = nextEvent(other, 'down')
    // One that is refused after its handshake may see a connection for a moment.
    await other.connect(a.addresses, { peer: a.id }).catch(() => undefined)
    return { other, gone }
  }
  const dials = await Promise.all([dial(), dial(), dial(), dial()])
  const refused = dials.filter(({ other }) => !a.connected().includes(other.id))
  assert.equal(refused.length, 2)
  await Promise.all(refused.map(async ({ other, gone }) => (other.isConnected(a.id) ? await gone : undefined)))
  await assert.rejects(a.connect(others.use(await loopbackNode()).addresses), unreachable)
})

test('thirty streams at once each get their own bytes', async () => {
  await using nodes = await connectedPair()
  const size = 300_000
  await nodes.a.handle('/echo/1', { maxMessage: 100 }, (stream) => {
    stream.start({
      onMessage: (body) => {
        stream.send({})
        stream.sendRaw(new Uint8Array(size).fill(body[0] ?? 0))
      },
      onClose: () => undefined
    })
  })
  const fetch = async () => {
    const stream = await nodes.b.open(nodes.a.id, '/echo/1', { maxMessage: 100 })
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    let bytes = 0
    stream.start({
      onMessage: () => stream.expectPayload(size),
      onPayload: (chunk) => {
        bytes += chunk.byteLength
        if (bytes === size) resolve(bytes)
      },
      onClose: (error) => reject(error)
    })
    stream.send({})
    const got = await promise
    await stream.close()
    return got
  }
  assert.deepEqual(await Promise.all(Array.from({ length: 30 }, fetch)), Array<number>(30).fill(size))
})

test('what was sent before a node stopped arrives', async () => {
  await using a = await loopbackNode()
  const b = await loopbackNode()
  await b.connect(a.addresses, { peer: a.id })
  const { opener, holder } = await streamPair({ a, b })
  const size = 3 * 1024 * 1024
  let bytes = 0
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  holder.start({
    onMessage: () => holder.expectPayload(size),
    onPayload: (chunk) => {
      bytes += chunk.byteLength
    },
    onClose: () => resolve()
  })
  opener.start({ onMessage: () => undefined, onClose: () => undefined })
  opener.send({})
  opener.sendRaw(new Uint8Array(size))
  await b[Symbol.asyncDispose]()
  await closed
  assert.equal(bytes, size)
})

test('a node stops soon even with open streams, and can come back', async () => {
  const identity = await newIdentity()
  const first = await loopbackNode({ identity })
  await using b = await loopbackNode()
  await b.connect(first.addresses, { peer: first.id })
  await streamPair({ a: first, b })
  const began = performance.now()
  const down = nextEvent(b, 'down')
  await first[Symbol.asyncDispose]()
  await down
  assert.ok(performance.now() - began < 3000)
  await using second = await loopbackNode({ identity })
  assert.equal(await b.connect(second.addresses, { peer: identity.id }), identity.id)
})
