import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import type { z } from 'zod'
import { LayerswarmError } from '../errors.ts'

/** Bytes of the length in front of every control message: an unsigned 32-bit big-endian number. */
const PREFIX_BYTES = 4

/** @returns a control message as it travels: 4 bytes of length, then deterministic CBOR. */
export function encodeFrame(message: object): Uint8Array {
  const body = encode(message, rfc8949EncodeOptions)
  const frame = new Uint8Array(PREFIX_BYTES + body.byteLength)
  new DataView(frame.buffer).setUint32(0, body.byteLength)
  frame.set(body, PREFIX_BYTES)
  return frame
}

/** Deterministic CBOR (RFC 8949 §4.2) of what gets signed. */
export function encodeCanonical(value: unknown): Uint8Array {
  return encode(value, rfc8949EncodeOptions)
}

/** @throws {LayerswarmError} PEER_PROTOCOL for bytes that are not CBOR or do not fit `schema`. */
export function decodeMessage<T>(schema: z.ZodType<T>, body: Uint8Array): T {
  let value: unknown
  try {
    value = decode(body)
  } catch (cause) {
    throw new LayerswarmError('PEER_PROTOCOL', { detail: 'not CBOR', cause })
  }
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw new LayerswarmError('PEER_PROTOCOL', { detail: parsed.error.issues[0]?.message ?? 'bad message' })
  return parsed.data
}

/**
 * Cuts an incoming byte stream into control messages and raw payload. A message may be followed by payload:
 * its handler then calls {@link expectPayload}, and that many bytes go to `onPayload` as they come, uncopied.
 */
export class FrameReader {
  readonly #maxBytes: number
  readonly #onMessage: (body: Uint8Array) => void
  readonly #onPayload: (chunk: Uint8Array) => void
  /** The length prefix, then the message body, where either comes in several chunks. */
  readonly #prefix = new Uint8Array(PREFIX_BYTES)
  #body: Uint8Array | undefined
  #filled = 0
  #payloadLeft = 0

  constructor(options: { maxBytes: number; onMessage: (body: Uint8Array) => void; onPayload?: (chunk: Uint8Array) => void }) {
    this.#maxBytes = options.maxBytes
    this.#onMessage = options.onMessage
    this.#onPayload =
      options.onPayload ??
      (() => {
        throw new LayerswarmError('PEER_PROTOCOL', { detail: 'payload where none belongs' })
      })
  }

  /** To be called from `onMessage`: the next `bytes` bytes are payload. */
  expectPayload(bytes: number): void {
    this.#payloadLeft = bytes
  }

  /** @throws {LayerswarmError} PEER_PROTOCOL when a message is larger than `maxBytes`, and whatever the handlers throw. */
  push(chunk: Uint8Array): void {
    let rest = chunk
    while (rest.byteLength > 0) {
      if (this.#payloadLeft > 0) {
        const part = rest.subarray(0, this.#payloadLeft)
        this.#payloadLeft -= part.byteLength
        rest = rest.subarray(part.byteLength)
        this.#onPayload(part)
        continue
      }
      rest = this.#takeFrame(rest)
    }
  }

  /** @returns what follows the part of a message that `chunk` begins with */
  #takeFrame(chunk: Uint8Array): Uint8Array {
    const body = this.#body ?? this.#prefix
    if (this.#body === undefined && this.#filled === 0 && chunk.byteLength >= PREFIX_BYTES) {
      const end = PREFIX_BYTES + this.#lengthIn(chunk)
      if (chunk.byteLength >= end) {
        this.#onMessage(chunk.subarray(PREFIX_BYTES, end))
        return chunk.subarray(end)
      }
    }
    const part = chunk.subarray(0, body.byteLength - this.#filled)
    body.set(part, this.#filled)
    this.#filled += part.byteLength
    if (this.#filled === body.byteLength) this.#endOf(body)
    return chunk.subarray(part.byteLength)
  }

  #endOf(part: Uint8Array): void {
    this.#filled = 0
    if (part === this.#prefix) {
      const length = this.#lengthIn(part)
      if (length > 0) this.#body = new Uint8Array(length)
      else this.#onMessage(new Uint8Array(0))
      return
    }
    this.#body = undefined
    this.#onMessage(part)
  }

  #lengthIn(bytes: Uint8Array): number {
    const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0)
    if (length > this.#maxBytes)
      throw new LayerswarmError('PEER_PROTOCOL', { detail: `a message of ${length} bytes; at most ${this.#maxBytes} are allowed` })
    return length
  }
}
