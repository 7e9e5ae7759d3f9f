import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { ByteRange, RegistryContent } from '../ports.ts'
import { encodingOf } from './body.ts'
import { networkFailure } from './failures.ts'
import { MAX_RESUMES } from './limits.ts'
import type { Ask, Requests } from './requests.ts'
import { discard, type HttpResponse, header } from './transport.ts'

/** A blob's bytes under way. */
interface Part {
  readonly size: number
  readonly mediaType: string
  readonly range: ByteRange
  readonly chunks: AsyncIterable<Uint8Array>
  /** Lets the connection go of one whose chunks nobody has begun to read. */
  readonly drop: () => void
  /** A break can be mended by asking for the rest. */
  readonly seekable: boolean
}

export interface BlobAsk extends Omit<Ask, 'method' | 'headers'> {
  /** Asks for the size alone, where an answer does not tell it. */
  readonly size: () => Promise<number>
}

/**
 * Opens a blob, or a range of it. The body breaks off with an error, never short; a break of the connection is mended
 * with a request for the rest where the registry honours ranges.
 * @throws {LayerswarmError} as {@link Requests.ask}; SIZE_MISMATCH when the blob ends before the range does
 */
export async function openBlob(requests: Requests, ask: BlobAsk, range: ByteRange | undefined): Promise<RegistryContent> {
  if (range !== undefined && range.end <= range.start) {
    throw new LayerswarmError('RANGE_UNSATISFIABLE', { detail: `bytes ${range.start} to ${range.end}` })
  }
  const first = await openPart(requests, ask, range)
  return { size: first.size, mediaType: first.mediaType, range: first.range, body: mended(requests, ask, range, first) }
}

async function* mended(requests: Requests, ask: BlobAsk, asked: ByteRange | undefined, first: Part): AsyncGenerator<Uint8Array> {
  const { registry } = ask.endpoint
  const { start, end } = first.range
  let part = first
  let at = start
  for (let resumes = 0; ; resumes++) {
    const from = at
    let broken = new LayerswarmError('REGISTRY_FAILED', { detail: `${registry} announced ${end - start} bytes and sent fewer` })
    try {
      for await (const chunk of part.chunks) {
        at += chunk.byteLength
        if (at > end) throw new LayerswarmError('SIZE_MISMATCH', { detail: `${registry} sends more than ${end - start} bytes` })
        yield chunk
      }
      if (at === end) return
    } catch (error) {
      ask.signal?.throwIfAborted()
      if (isLayerswarmError(error)) throw error
      broken = bodyFailure(registry, error)
    }
    const untouched = at === start
    if (resumes === MAX_RESUMES || (!untouched && (at === from || !part.seekable))) throw broken
    await requests.backOff(resumes + 1, ask.signal)
    part = await openPart(requests, ask, untouched ? asked : { start: at, end })
    if (part.size === first.size && part.range.start === at && part.range.end === end) continue
    part.drop()
    throw part.size === first.size ? broken : sizeChanged(registry, first.size, part.size)
  }
}

async function openPart(requests: Requests, ask: BlobAsk, range: ByteRange | undefined): Promise<Part> {
  const { registry } = ask.endpoint
  const headers: Record<string, string> = { accept: '*/*' }
  if (range !== undefined) headers.range = `bytes=${range.start}-${range.end - 1}`
  const part = await requests.ask({ ...ask, method: 'GET', headers }, async (answer): Promise<Part | undefined> => {
    const encoded = encodingOf(answer) !== undefined
    if (answer.status === 206 && encoded) {
      // A range of encoded bytes is of no use.
      answer.body.destroy()
      return undefined
    }
    try {
      const known = answer.status === 206 ? rangeOf(registry, answer, range) : await wholeOf(registry, answer, encoded, ask.size)
      const mediaType = mediaTypeOf(answer) ?? 'application/octet-stream'
      // A whole answer to a ranged request shows that ranges are ignored.
      const seekable = !encoded && (answer.status === 206 || range === undefined)
      // What one image asks for shares the limit as one, whatever the number of its layers and of their requests.
      const waits = { key: `${registry}/${ask.repository}`, signal: ask.signal }
      return { ...known, mediaType, seekable, chunks: requests.content(registry, answer, waits), drop: () => discard(answer) }
    } catch (error) {
      discard(answer)
      throw error
    }
  })
  return part ?? openPart(requests, ask, undefined)
}

async function wholeOf(
  registry: string,
  answer: HttpResponse,
  encoded: boolean,
  ask: () => Promise<number>
): Promise<{ size: number; range: ByteRange }> {
  if (answer.status !== 200) throw new LayerswarmError('REGISTRY_FAILED', { detail: `${registry} answered ${answer.status}` })
  const size = (encoded ? undefined : lengthOf(answer)) ?? (await ask())
  return { size, range: { start: 0, end: size } }
}

function rangeOf(registry: string, answer: HttpResponse, range: ByteRange | undefined): { size: number; range: ByteRange } {
  const given = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header(answer.headers, 'content-range') ?? '')
  const [start, last, size] = (given ?? []).slice(1).map(Number)
  if (range === undefined || size === undefined || last === undefined || start !== range.start) {
    throw new LayerswarmError('REGISTRY_FAILED', { detail: `${registry} answered with another range than asked for` })
  }
  if (size < range.end) throw new LayerswarmError('SIZE_MISMATCH', { detail: `${registry} holds ${size} bytes of at least ${range.end}` })
  if (last !== range.end - 1) throw new LayerswarmError('REGISTRY_FAILED', { detail: `${registry} answered with a part of the range` })
  return { size, range }
}

/** Content-Length; undefined when there is none. */
export function lengthOf(answer: Pick<HttpResponse, 'headers'>): number | undefined {
  const length = header(answer.headers, 'content-length')
  return length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined
}

/** Content-Type without parameters; undefined when there is none. */
export function mediaTypeOf(answer: Pick<HttpResponse, 'headers'>): string | undefined {
  const type = header(answer.headers, 'content-type')?.split(';')[0]?.trim()
  return type === '' ? undefined : type
}

/** A body that fell silent means that the registry is out of reach; one that broke off, that it failed. */
function bodyFailure(registry: string, error: unknown): LayerswarmError {
  const failure = networkFailure(registry, error).error
  const silent = error instanceof Error && 'code' in error && error.code === 'UND_ERR_BODY_TIMEOUT'
  return silent ? failure : new LayerswarmError('REGISTRY_FAILED', { detail: failure.detail ?? registry })
}

function sizeChanged(registry: string, before: number, after: number): LayerswarmError {
  return new LayerswarmError('SIZE_MISMATCH', { detail: `${registry} said ${before} bytes, then ${after}` })
}
