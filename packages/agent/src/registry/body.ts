import { pipeline, Readable, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { TakeOptions, Throttle } from '@layerswarm/core/rate-limiter.ts'
import { type HttpResponse, header } from './transport.ts'

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress
}

/** The encoding of a body that was sent in spite of `Accept-Encoding: identity`. */
export function encodingOf({ headers }: Pick<HttpResponse, 'headers'>): string | undefined {
  const encoding = header(headers, 'content-encoding')?.trim().toLowerCase()
  return encoding === undefined || encoding === '' || encoding === 'identity' ? undefined : encoding
}

/** A limit that a body waits for, chunk by chunk; the registry waits with it, since nobody reads meanwhile. */
export interface Paced extends TakeOptions {
  readonly throttle: Throttle
}

/**
 * The bytes of a body, decoded: digests and sizes are those of the content itself.
 * @param received told the bytes of each chunk as they came over the network
 */
export function contentOf(
  registry: string,
  response: HttpResponse,
  received: (bytes: number) => void,
  paced?: Paced
): AsyncIterable<Uint8Array> {
  const raw = paced === undefined ? counted(response.body, received) : counted(evenly(response.body, paced), received)
  const encoding = encodingOf(response)
  if (encoding === undefined) return raw
  const decoder = DECODERS[encoding]?.()
  if (decoder === undefined) {
    response.body.destroy()
    throw new LayerswarmError('REGISTRY_FAILED', { detail: `${registry} sent an unknown encoding` })
  }
  pipeline(Readable.from(raw), decoder, () => undefined)
  return decoder
}

async function* evenly(body: AsyncIterable<Uint8Array>, { throttle, ...options }: Paced): AsyncIterable<Uint8Array> {
  for await (const chunk of body) {
    for (let at = 0; at < chunk.byteLength; at += throttle.grain) {
      const part = chunk.subarray(at, at + throttle.grain)
      await throttle.take(part.byteLength, options)
      yield part
    }
  }
}

async function* counted(body: AsyncIterable<Uint8Array>, received: (bytes: number) => void): AsyncIterable<Uint8Array> {
  for await (const chunk of body) {
    received(chunk.byteLength)
    yield chunk
  }
}

/** A small body, whole. @throws {LayerswarmError} REGISTRY_FAILED for more than `cap` bytes */
export async function readAll(registry: string, content: AsyncIterable<Uint8Array>, cap: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of content) {
    size += chunk.byteLength
    if (size > cap) throw new LayerswarmError('REGISTRY_FAILED', { detail: `${registry} sent more than ${cap} bytes` })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
