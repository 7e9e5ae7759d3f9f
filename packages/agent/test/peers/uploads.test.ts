import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { test } from 'node:test'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { RateLimiter, type Throttle } from '@layerswarm/core/rate-limiter.ts'
import { decodeMessage } from '@layerswarm/core/wire/frames.ts'
import { GET_PROTOCOL, type GetReply, getReply } from '@layerswarm/core/wire/peer-protocol.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import type { PeerNetworkDeps } from '../../src/peers/network.ts'
import { BLOCKED_AFTER_MS, DEAD_AFTER_MS } from '../../src/peers/upload-watch.ts'
import { MAX_UPLOADS, UPLOADS } from '../../src/peers/uploads.ts'
import type { UploadRequest } from '../../src/ports.ts'
import { fetchAll, type Host, host, nextEvent } from './fleet.ts'

const PIECE = 256 * 1024
const blob = fixtureBlob(12 * PIECE)
const { digest, layout } = blob

/** A gate that uploads stand at until it is opened: as a limit, one slice each, or where pieces are read from the store. */
function gate() {
  const arrivals = new EventEmitter()
  const { promise: opened, resolve: open } = Promise.withResolvers<void>()
  let standing = 0
  const stand = async () => {
    standing++
    arrivals.emit('arrival')
    await opened
  }
  const upload: Throttle = {
    grain: PIECE,
    take: (_, { signal }) => orAborted(stand(), signal),
    tryTake: () => false,
    charge: () => undefined
  }
  const readSlowly = (store: MemoryBlobStore): PeerNetworkDeps['store'] => ({
    changes: (options) => store.changes(options),
    open: async (digest) => {
      const reader = await store.open(digest)
      const read = reader?.piece.bind(reader)
      if (reader !== undefined && read !== undefined) reader.piece = async (piece) => await stand().then(() => read(piece))
      return reader
    }
  })
  const arrived = async (count: number) => {
    while (standing < count) await once(arrivals, 'arrival')
  }
  return { limits: { upload }, readSlowly, open, arrived, standing: () => standing }
}

async function orAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
  await Promise.race([work, promise])
}

async function serving(options: Parameters<typeof host>[0] = {}): Promise<Host> {
  const us = await host(options)
  await us.store.add(digest, layout, blob.bytes)
  return us
}

/** Two hosts, one of which answers nothing before the gate opens and notes what it picks. */
async function asking(stack: AsyncDisposableStack) {
  const { limits, open, arrived } = gate()
  const picked: number[] = []
  const uploadPolicy = (waiting: readonly UploadRequest[]) => {
    if (waiting[0]?.blob === digest) picked.push(waiting[0].piece)
    return 0
  }
  const us = stack.use(await serving({ uploadPolicy, limits }))
  const them = stack.use(await host())
  await them.network.connect(us.address)
  return { open, arrived, picked, us, them, source: them.network.source(us.node.id, digest, layout) }
}

/** A get stream by hand, whose answers come as events. */
async function openGet(from: Host, to: Host) {
  await from.node.connect(to.address.addrs, { peer: to.node.id })
  const stream = await from.node.open(to.node.id, GET_PROTOCOL, { maxMessage: 4096 })
  const events = new EventEmitter()
  const replies: GetReply[] = []
  let bytes = 0
  stream.start({
    onMessage: (body) => {
      const reply = decodeMessage(getReply, body)
      if (reply.t === 'data') stream.expectPayload(reply.length)
      replies.push(reply)
      events.emit('reply')
    },
    onPayload: (chunk) => {
      bytes += chunk.byteLength
      events.emit('reply')
    },
    onClose: () => events.emit('reply')
  })
  const until = async (enough: () => boolean) => {
    while (!enough()) await once(events, 'reply')
  }
  const get = (id: number, piece = id) => stream.send({ t: 'get', id, blob: digest, piece, received: id * 1000, elapsed: 100 })
  return { stream, replies, get, until, bytes: () => bytes }
}

test('what waits is served in the order that the policy says, which sees who asks for what', async () => {
  const { limits, open, arrived } = gate()
  const seen: (readonly UploadRequest[])[] = []
  const uploadPolicy = (waiting: readonly UploadRequest[]) => {
    seen.push(waiting)
    return waiting.length - 1
  }
  await using us = await serving({ uploadPolicy, limits })
  await using them = await host()
  const { get, replies, until } = await openGet(them, us)
  get(0)
  await arrived(1)
  for (const id of [1, 2, 3, 4]) get(id)
  get(5, 0)
  await fence(them, us)
  seen.length = 1
  open()
  await until(() => replies.length === 6)
  assert.equal(replies[0]?.id, 0)
  assert.deepEqual(seen[0]?.[0], { peer: them.node.id, blob: digest, piece: 0, rate: 0, served: 0 })
  const again = seen.flat().find((request) => request.piece === 0 && request.rate > 0)
  assert.equal(again?.served, 1)
  for (const [at, waiting] of seen.slice(1).entries()) assert.equal(replies[at + 1]?.id, waiting.at(-1)?.piece || 5)
  for (const { piece, rate } of seen.slice(1).flat()) assert.ok(rate > 0 && rate <= 10 * (piece || 5), 'the wait counts')
})

test('two uploads at a time; more, up to a bound, only while those make no progress', async () => {
  const clock = new ManualClock()
  const { readSlowly, open, arrived, standing } = gate()
  const store = new MemoryBlobStore()
  await store.add(digest, layout, blob.bytes)
  await using us = await host({ clock, store: readSlowly(store) })
  await using them = new AsyncDisposableStack()
  const streams = []
  for (let i = 0; i < MAX_UPLOADS + 2; i++) streams.push(await openGet(them.use(await host()), us))
  for (const { get } of streams) get(0)
  await arrived(UPLOADS)
  for (let round = 1; round * UPLOADS < MAX_UPLOADS; round++) {
    assert.equal(standing(), UPLOADS * round)
    await clock.advance(BLOCKED_AFTER_MS)
    await arrived(UPLOADS * (round + 1))
  }
  await clock.advance(10 * BLOCKED_AFTER_MS)
  assert.equal(standing(), MAX_UPLOADS)
  open()
  await Promise.all(streams.map(async ({ until, bytes }) => await until(() => bytes() === PIECE)))
})

test('what waits for the limit of this host is not blamed on its receiver', async () => {
  const clock = new ManualClock()
  const { limits, open, arrived, standing } = gate()
  await using us = await serving({ clock, limits })
  await using them = new AsyncDisposableStack()
  const streams = []
  for (let i = 0; i < UPLOADS + 1; i++) streams.push(await openGet(them.use(await host()), us))
  for (const { get } of streams) get(0)
  await arrived(UPLOADS)
  await clock.advance(2 * DEAD_AFTER_MS)
  assert.equal(standing(), UPLOADS)
  open()
  await Promise.all(streams.map(async ({ until, bytes }) => await until(() => bytes() === PIECE)))
})

test('uploads keep to a limit that peers share alike, however much each asks for, and flow evenly', async () => {
  const clock = new ManualClock()
  const rate = 200_000
  const upload = new RateLimiter({ clock }, { bytesPerSecond: rate })
  const sent: { at: number; bytes: number }[] = []
  const metrics = { sent: (bytes: number) => sent.push({ at: clock.now(), bytes }), connected: () => undefined }
  await using us = await serving({ clock, metrics, limits: { upload } })
  await using one = await host()
  await using other = await host()
  const [greedy, modest] = [await openGet(one, us), await openGet(other, us)]
  for (const id of [0, 1, 2, 3]) greedy.get(id)
  modest.get(5)
  const done = Promise.all([greedy.until(() => greedy.bytes() === 4 * PIECE), modest.until(() => modest.bytes() === PIECE)])
  const early = modest.until(() => modest.bytes() === PIECE).then(() => greedy.bytes())
  await clock.runUntil(done)
  assert.ok(Math.abs((await early) - PIECE) <= PIECE / 4, `the other had got ${await early} bytes when one had ${PIECE}`)
  const bytesIn = (from: number, ms: number) => sent.reduce((sum, { at, bytes }) => sum + (at >= from && at < from + ms ? bytes : 0), 0)
  for (let from = 0; from < 5000; from += 250) {
    const second = bytesIn(from, 1000)
    assert.ok(second <= rate * 1.05 && second >= rate * 0.95, `${second} bytes in the second from ${from} ms`)
  }
})

test('an upload that waits for the limit ends with its stream, and leaves its place to others', async () => {
  const { limits, open, arrived } = gate()
  await using us = await serving({ limits })
  await using them = new AsyncDisposableStack()
  const [first, ...others] = [await openGet(them.use(await host()), us), await openGet(them.use(await host()), us)]
  const last = await openGet(them.use(await host()), us)
  for (const { get } of [first, ...others]) get(0)
  await arrived(UPLOADS)
  last.get(0)
  first.stream.abort(new LayerswarmError('PEER_GONE'))
  await arrived(UPLOADS + 1)
  open()
  await last.until(() => last.bytes() === PIECE)
})

/** Frames of one connection are read in order: what was sent on it before has been read when this returns. */
async function fence(from: Host, to: Host): Promise<void> {
  const { stream, replies, until } = await openGet(from, to)
  stream.send({ t: 'get', id: 0, blob: fixtureBlob(1).digest, piece: 0, received: 0, elapsed: 0 })
  await until(() => replies.length === 1)
}

test('every answer says how much is waiting and under way', async () => {
  const { limits, open, arrived } = gate()
  await using us = await serving({ limits })
  await using them = await host()
  const { get, replies, until, stream } = await openGet(them, us)
  get(0)
  await arrived(1)
  get(1)
  get(2)
  stream.send({ t: 'cancel', id: 2 })
  await fence(them, us)
  open()
  await until(() => replies.length === 3)
  assert.deepEqual(
    replies.slice(0, 2).map((reply) => [reply.t, reply.id, reply.load]),
    [
      ['data', 0, 1],
      ['no', 2, 2]
    ]
  )
  // The piece before it counts until it has left.
  assert.ok(replies[2]?.id === 1 && replies[2].load <= 2)
})

test('a request that waits is cancelled by a message: it is never served, and the others are', async () => {
  await using stack = new AsyncDisposableStack()
  const { open, arrived, picked, us, them, source } = await asking(stack)
  const piece = async (at: number, signal?: AbortSignal) => {
    for await (const { bytes } of source.fetch({ first: at, count: 1 }, signal && { signal })) return Buffer.from(bytes)
    throw new Error('no piece')
  }
  const first = piece(0)
  await arrived(1)
  const stop = new AbortController()
  const unwanted = piece(1, stop.signal)
  const last = piece(2)
  await fence(them, us)
  const reason = new Error('not wanted')
  stop.abort(reason)
  await assert.rejects(unwanted, reason)
  await fence(them, us)
  open()
  assert.ok((await first).equals(blob.piece(0)))
  assert.ok((await last).equals(blob.piece(2)))
  assert.deepEqual(picked, [0, 2])
})

test('a request that waits can be taken back; one whose answer has begun is answered, on the same stream', async () => {
  await using stack = new AsyncDisposableStack()
  const { open, arrived, picked, us, them, source } = await asking(stack)
  const piece = async (at: number) => {
    for await (const { bytes } of source.fetch({ first: at, count: 1 })) return Buffer.from(bytes)
    throw new Error('no piece')
  }
  const first = piece(0)
  await arrived(1)
  const [second, last] = [piece(1), piece(2)]
  await fence(them, us)
  source.withdraw?.(1)
  source.withdraw?.(0)
  source.withdraw?.(7)
  await fence(them, us)
  open()
  await assert.rejects(second, (error) => isLayerswarmError(error, 'STALLED'))
  assert.ok((await first).equals(blob.piece(0)))
  assert.ok((await last).equals(blob.piece(2)))
  assert.deepEqual(picked, [0, 2])
})

test('a peer that asks and does not read costs a bounded amount, and others are served meanwhile', async () => {
  const clock = new ManualClock()
  const big = fixtureBlob(64 * 1024 * 1024)
  let sent = 0
  const metrics = { sent: (bytes: number) => (sent += bytes), connected: () => undefined }
  await using us = await host({ clock, metrics })
  await us.store.add(big.digest, big.layout, big.bytes)
  await using slow = await host()
  const { stream, replies, until, bytes } = await openGet(slow, us)
  stream.pause()
  for (let id = 0; id < 60; id++) stream.send({ t: 'get', id, blob: big.digest, piece: id, received: 0, elapsed: 0 })
  await using other = await host()
  await other.network.connect(us.address)
  assert.ok((await fetchAll(other.network.source(us.node.id, big.digest, big.layout), big.layout.pieces)).equals(big.bytes))
  const toSlow = sent - big.bytes.byteLength
  assert.ok(toSlow < 12 * 1024 * 1024, `${toSlow} bytes were sent to a peer that does not read`)
  stream.resume()
  await until(() => replies.length === 60 && bytes() === 60 * PIECE)
})

test('what is not held, or not yet, is said, without a fault', async () => {
  await using us = await serving()
  await using them = await host()
  const other = fixtureBlob(3 * PIECE, { seed: 2 })
  await using partial = await us.store.begin(other.digest, other.layout)
  await partial.write(1, other.piece(1))
  const { stream, replies, until } = await openGet(them, us)
  stream.send({ t: 'get', id: 1, blob: fixtureBlob(1).digest, piece: 0, received: 0, elapsed: 0 })
  stream.send({ t: 'get', id: 2, blob: other.digest, piece: 0, received: 0, elapsed: 0 })
  stream.send({ t: 'get', id: 3, blob: other.digest, piece: 1, received: 0, elapsed: 0 })
  stream.send({ t: 'get', id: 4, blob: digest, piece: 4_000_000, received: 0, elapsed: 0 })
  await until(() => replies.length === 4)
  assert.deepEqual(
    replies.map((reply) => [reply.id, reply.t === 'no' ? reply.reason : reply.length]),
    [
      [1, 'gone'],
      [2, 'missing'],
      [3, PIECE],
      [4, 'missing']
    ]
  )
})

test('what turns out not to be readable is said, too', async () => {
  const store = new MemoryBlobStore()
  await store.add(digest, layout, blob.bytes)
  const failing: PeerNetworkDeps['store'] = {
    changes: (options) => store.changes(options),
    open: async (wanted) => {
      const reader = await store.open(wanted)
      if (reader === undefined) throw new Error('no blob at all')
      reader.piece = () => Promise.reject(new Error('a handle that is no good'))
      return reader
    }
  }
  await using us = await host({ store: failing })
  await using them = await host()
  const { stream, get, replies, until } = await openGet(them, us)
  get(1)
  stream.send({ t: 'get', id: 2, blob: fixtureBlob(1).digest, piece: 0, received: 0, elapsed: 0 })
  await until(() => replies.length === 2)
  assert.deepEqual(
    replies.map((reply) => reply.t === 'no' && reply.reason),
    ['missing', 'missing']
  )
})

test('a reader that served is closed after a while, so that its blob can be removed', async () => {
  const clock = new ManualClock()
  await using us = await serving({ clock })
  await using them = await host()
  await them.network.connect(us.address)
  await fetchAll(them.network.source(us.node.id, digest, layout), 2)
  assert.equal(await us.store.delete(digest), false)
  await clock.advance(10_000)
  assert.equal(await us.store.delete(digest), true)
})

test('closing refuses what waits, lets what is under way end, and hangs up', async () => {
  const { limits, open, arrived } = gate()
  await using them = await host()
  const us = await serving({ limits })
  const { get, replies, until, bytes, stream } = await openGet(them, us)
  get(0)
  await arrived(1)
  get(1)
  get(2)
  stream.send({ t: 'cancel', id: 2 })
  await fence(them, us)
  const closing = us.network[Symbol.asyncDispose]()
  open()
  await closing
  await until(() => !stream.open)
  assert.equal(bytes(), PIECE)
  assert.deepEqual(
    replies.map(({ t, id }) => [t, id]),
    [
      ['data', 0],
      ['no', 2],
      ['no', 1]
    ]
  )
  await us[Symbol.asyncDispose]()
})

test('a peer that goes away fails what was asked of it in no time, and serves again when it is back', async () => {
  const identity = await newIdentity()
  const { limits, open, arrived } = gate()
  const us = await serving({ identity, limits })
  await using them = await host()
  await them.network.connect(us.address)
  const source = them.network.source(us.node.id, digest, layout)
  const fetching = assert.rejects(fetchAll(source, 3), (error) => isLayerswarmError(error, 'PEER_UNREACHABLE'))
  await arrived(1)
  const down = nextEvent(them.network, 'down')
  await us.node[Symbol.asyncDispose]()
  await Promise.all([fetching, down])
  open()
  await assert.rejects(fetchAll(source, 1), (error) => isLayerswarmError(error, 'PEER_UNREACHABLE'))
  await using again = await serving({ identity })
  await them.network.connect(again.address)
  assert.ok((await fetchAll(source, layout.pieces)).equals(blob.bytes))
  await us[Symbol.asyncDispose]()
})
