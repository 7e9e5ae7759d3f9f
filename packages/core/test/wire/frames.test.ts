import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { z } from 'zod'
import { isLayerswarmError } from '../../src/errors.ts'
import { decodeMessage, encodeFrame, FrameReader } from '../../src/wire/frames.ts'

const schema = z.object({ length: z.int().optional(), text: z.string().optional() })

interface Sent {
  readonly text: string
  readonly payload: Uint8Array
}

function wire(items: readonly Sent[]): Uint8Array {
  return Buffer.concat(items.flatMap(({ text, payload }) => [encodeFrame({ text, length: payload.byteLength }), payload]))
}

function read(chunks: readonly Uint8Array[]): Sent[] {
  const items: { text: string; payload: number[] }[] = []
  const reader = new FrameReader({
    maxBytes: 1000,
    onMessage: (body) => {
      const { text = '', length = 0 } = decodeMessage(schema, body)
      items.push({ text, payload: [] })
      reader.expectPayload(length)
    },
    onPayload: (chunk) => items.at(-1)?.payload.push(...chunk)
  })
  for (const chunk of chunks) reader.push(chunk)
  return items.map(({ text, payload }) => ({ text, payload: Uint8Array.from(payload) }))
}

test('messages and payload come out as they went in, however the bytes are cut', () => {
  const item = fc.record({ text: fc.string({ maxLength: 40 }), payload: fc.uint8Array({ maxLength: 60 }) }, { noNullPrototype: true })
  fc.assert(
    fc.property(
      fc.array(item, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 40 }),
      (items, cuts) => {
        const bytes = wire(items)
        const chunks: Uint8Array[] = []
        for (let at = 0, i = 0; at < bytes.byteLength; i++) {
          const end = at + (cuts[i % cuts.length] ?? 1)
          chunks.push(bytes.subarray(at, end))
          at = end
        }
        assert.deepEqual(read(chunks), items)
      }
    )
  )
})

test('a message larger than allowed is refused by its length alone', () => {
  const reader = new FrameReader({ maxBytes: 1000, onMessage: () => assert.fail('delivered') })
  reader.push(Uint8Array.of(0, 0))
  assert.throws(
    () => reader.push(Uint8Array.of(0x03, 0xe9)),
    (error) => isLayerswarmError(error, 'PEER_PROTOCOL')
  )
})

test('what is not CBOR, or does not fit, is PEER_PROTOCOL', () => {
  assert.throws(
    () => decodeMessage(schema, Uint8Array.of(0xff)),
    (error) => isLayerswarmError(error, 'PEER_PROTOCOL')
  )
  assert.throws(
    () => decodeMessage(schema, new Uint8Array(0)),
    (error) => isLayerswarmError(error, 'PEER_PROTOCOL')
  )
  assert.throws(
    () => decodeMessage(schema, encodeFrame({ text: 1 }).subarray(4)),
    (error) => isLayerswarmError(error, 'PEER_PROTOCOL')
  )
})
