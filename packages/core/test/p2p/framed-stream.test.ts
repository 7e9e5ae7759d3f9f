import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { after, before, test } from 'node:test'
import { z } from 'zod'
import { isLayerswarmError, LayerswarmError } from '../../src/errors.ts'
import { type FramedStream, SEND_AHEAD } from '../../src/p2p/framed-stream.ts'
import { decodeMessage } from '../../src/wire/frames.ts'
import { connectedPair, streamPair } from './pair.ts'

const schema = z.object({ n: z.int(), length: z.int().optional() })
const CHUNK = 256 * 1024

let nodes: Awaited<ReturnType<typeof connectedPair>>
before(async () => {
  nodes = await connectedPair()
})
after(async () => await nodes[Symbol.asyncDispose]())

/** Starts a stream that only collects. */
function collect(stream: FramedStream) {
  const events = new EventEmitter()
  const messages: number[] = []
  const state = { messages, bytes: 0, error: undefined as LayerswarmError | undefined, closed: once(events, 'close') }
  stream.start({
    onMessage: (body) => {
      const { n, length } = decodeMessage(schema, body)
      messages.push(n)
      if (length !== undefined) stream.expectPayload(length)
    },
    onPayload: (chunk) => {
      state.bytes += chunk.byteLength
    },
    onClose: (error) => {
      state.error = error
      events.emit('close')
    }
  })
  return state
}

test('what is sent before a close arrives, in order, and both ends end without an error', async () => {
  const { opener, holder } = await streamPair(nodes)
  const [got, back] = [collect(holder), collect(opener)]
  for (let n = 0; n < 10; n++) {
    opener.send({ n, length: 100_000 })
    opener.sendRaw(new Uint8Array(100_000))
  }
  await opener.close()
  await Promise.all([got.closed, back.closed])
  assert.deepEqual(got.messages, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  assert.equal(got.bytes, 1_000_000)
  assert.equal(got.error, undefined)
  assert.equal(back.error, undefined)
  assert.equal(opener.open, false)
})

test('memory that is released may be written to again, whatever else is being sent, and the reader sees nothing of it', async () => {
  const { opener, holder } = await streamPair(nodes)
  const { opener: other, holder: otherEnd } = await streamPair(nodes)
  collect(otherEnd)
  other.start({ onMessage: () => undefined, onClose: () => undefined })
  const sizes = [1, 1000, 16_384, 70_000, CHUNK]
  const wrong: number[] = []
  let [current, bytes] = [0, 0]
  const { promise: done, resolve } = Promise.withResolvers<void>()
  holder.start({
    onMessage: (body) => {
      const { n, length = 0 } = decodeMessage(schema, body)
      current = n
      holder.expectPayload(length)
      if (length === 1 && n === 250) resolve()
    },
    onPayload: (chunk) => {
      bytes += chunk.byteLength
      if (chunk.some((byte) => byte !== current)) wrong.push(current)
      if (bytes % 7 === 0) holder.pause()
      setImmediate(() => holder.resume())
    },
    onClose: () => undefined
  })
  opener.start({ onMessage: () => undefined, onClose: () => undefined })
  const memory = new Uint8Array(CHUNK)
  for (let n = 0; n <= 250; n++) {
    const part = memory.subarray(0, sizes[n % sizes.length]).fill(n)
    other.send({ n })
    opener.send({ n, length: part.byteLength })
    opener.sendRaw(part)
    other.send({ n })
    await opener.released()
  }
  await done
  assert.deepEqual(wrong, [])
  opener.abort(new LayerswarmError('PEER_GONE'))
  other.abort(new LayerswarmError('PEER_GONE'))
})

test('a sender that waits holds little, and a reader that pauses all the time gets everything', async () => {
  const { opener, holder } = await streamPair(nodes)
  const total = 48 * 1024 * 1024
  const { promise: done, resolve } = Promise.withResolvers<void>()
  let bytes = 0
  holder.start({
    onMessage: () => holder.expectPayload(total),
    onPayload: (chunk) => {
      const before = Math.floor(bytes / CHUNK)
      bytes += chunk.byteLength
      if (Math.floor(bytes / CHUNK) > before) {
        holder.pause()
        setImmediate(() => holder.resume())
      }
      if (bytes === total) resolve()
    },
    onClose: (error) => assert.equal(error, undefined)
  })
  collect(opener)
  opener.send({ n: 0, length: total })
  let most = 0
  for (let sent = 0; sent < total; sent += CHUNK) {
    opener.sendRaw(new Uint8Array(CHUNK))
    most = Math.max(most, opener.unsent)
    await opener.drained()
  }
  await done
  assert.ok(most <= SEND_AHEAD + CHUNK, `${most} bytes were unsent`)
  await opener.close()
})

test('a stream to a peer that does not read is given up before it fills the memory', async () => {
  const { opener, holder } = await streamPair(nodes)
  const [got, back] = [collect(holder), collect(opener)]
  holder.pause()
  opener.send({ n: 0, length: 2 ** 31 })
  for (let i = 0; i < 200 && opener.open; i++) {
    opener.sendRaw(new Uint8Array(CHUNK))
    await new Promise(setImmediate)
  }
  await Promise.all([back.closed, got.closed])
  assert.ok(isLayerswarmError(back.error, 'PEER_UNREACHABLE'))
  assert.match(back.error.message, /does not read/)
})

test('garbage, oversized messages and wrong schemas end the stream with PEER_PROTOCOL, not the process', async () => {
  const wrong = [Uint8Array.of(0, 0, 0, 2, 0xff, 0xff), Uint8Array.of(0xff, 0xff, 0xff, 0xff), Buffer.from('GET / HTTP/1.1\r\n\r\n')]
  for (const bytes of wrong) {
    const { opener, holder } = await streamPair(nodes)
    const [got, back] = [collect(holder), collect(opener)]
    opener.sendRaw(bytes)
    await Promise.all([got.closed, back.closed])
    assert.ok(isLayerswarmError(got.error, 'PEER_PROTOCOL'))
    assert.ok(isLayerswarmError(back.error, 'PEER_UNREACHABLE'))
  }
  const { opener, holder } = await streamPair(nodes)
  holder.start({
    onMessage: () => {
      throw new TypeError('a defect')
    },
    onClose: () => undefined
  })
  const back = collect(opener)
  opener.send({ n: 1 })
  await back.closed
  assert.equal(holder.open, false)
})

test('nothing is delivered after the handler ended the stream', async () => {
  const { opener, holder } = await streamPair(nodes)
  const seen: string[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  holder.start({
    onMessage: () => {
      seen.push('message')
      void holder.close()
      holder.abort(new LayerswarmError('PEER_GONE'))
    },
    onClose: () => {
      seen.push('close')
      resolve()
    }
  })
  const back = collect(opener)
  opener.sendRaw(Buffer.concat([Uint8Array.of(0, 0, 0, 1, 0xa0), Uint8Array.of(0, 0, 0, 1, 0xa0)]))
  await Promise.all([promise, back.closed])
  assert.deepEqual(seen, ['message', 'close'])
})

test('a wait for room ends with the stream, or with its signal', async () => {
  const { opener, holder } = await streamPair(nodes)
  collect(holder)
  collect(opener)
  holder.pause()
  opener.send({ n: 0, length: 2 ** 31 })
  while (opener.unsent < SEND_AHEAD) {
    opener.sendRaw(new Uint8Array(CHUNK))
    await new Promise(setImmediate)
  }
  const reason = new Error('enough')
  await assert.rejects(opener.drained({ signal: AbortSignal.abort(reason) }), reason)
  const controller = new AbortController()
  const waits = assert.rejects(opener.drained({ signal: controller.signal }), reason)
  controller.abort(reason)
  await waits
  const cut = assert.rejects(opener.drained(), (error) => isLayerswarmError(error, 'PEER_UNREACHABLE'))
  holder.abort(new LayerswarmError('PEER_GONE'))
  await cut
})
