import { randomBytes } from 'node:crypto'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { OCTETS } from '@layerswarm/core/image/manifest.ts'
import type { ByteRange, ImageService, OpenContent } from '../ports.ts'
import type { Exchange } from './exchange.ts'
import { findContent } from './find-content.ts'
import type { Outcome } from './outcome.ts'
import { patienceWith, Watch } from './patience.ts'
import { contentRange, ifRangeHolds, type Multipart, multipart, noneMatchNames, parseRange } from './range.ts'
import type { Repository } from './request-target.ts'
import { movedBytes, sourceOf } from './source.ts'

export interface ServeDeps {
  readonly images: ImageService
  readonly clock: Clock
}

/** Memory for the body of an answer, which its chunks pass through one by one. As large as the largest that is read. */
const CHUNK_BYTES = 1024 * 1024

/** How one body is cut out of the content. */
interface Cut {
  readonly status: 200 | 206
  readonly ranges: readonly ByteRange[]
  readonly headers: Readonly<Record<string, string>>
  readonly length: number
  readonly framing?: Multipart
}

/** The part of `size` bytes of a type that a request's headers ask for. @throws {LayerswarmError} RANGE_UNSATISFIABLE */
export function cutFor(exchange: Exchange, size: number, mediaType: string, etag: string): Cut {
  const asked = ifRangeHolds(exchange.header('if-range'), etag) ? exchange.header('range') : undefined
  const answer = parseRange(asked, size)
  switch (answer.type) {
    case 'unsatisfiable':
      exchange.onRefusal['Content-Range'] = `bytes */${size}`
      throw new LayerswarmError('RANGE_UNSATISFIABLE', { detail: `of ${size} bytes` })
    case 'part': {
      const { range } = answer
      return { status: 206, ranges: [range], headers: { 'Content-Range': contentRange(range, size) }, length: range.end - range.start }
    }
    case 'parts': {
      const framing = multipart(answer.ranges, size, mediaType, randomBytes(24).toString('hex'))
      return {
        status: 206,
        ranges: answer.ranges,
        headers: { 'Content-Type': framing.contentType },
        length: framing.contentLength,
        framing
      }
    }
    case 'whole':
      return { status: 200, ranges: size === 0 ? [] : [{ start: 0, end: size }], headers: {}, length: size }
  }
}

/** Headers that describe content by digest, whatever part of it follows. */
export function contentHeaders(digest: Digest, mediaType: string): Record<string, string> {
  return { 'Content-Type': mediaType, 'Docker-Content-Digest': digest, ETag: `"${digest}"`, 'Accept-Ranges': 'bytes' }
}

/** Answers GET and HEAD of a blob. */
export async function serveBlob(
  deps: ServeDeps,
  exchange: Exchange,
  target: Repository & { digest: Digest },
  outcome: Outcome
): Promise<void> {
  const { images, clock } = deps
  const { registry, repository, digest } = target
  const found = await findContent(deps, { registry, repository, digest, kind: 'blob' }, exchange.signal)
  const { size } = found.descriptor
  const headers = contentHeaders(digest, OCTETS)
  outcome.source = found.origin
  if (noneMatchNames(exchange.header('if-none-match'), headers.ETag ?? '')) {
    outcome.result = 'unchanged'
    const { ETag, 'Docker-Content-Digest': id } = headers
    return await exchange.send(304, { ETag, 'Docker-Content-Digest': id })
  }
  if (exchange.head) {
    return await exchange.send(200, { ...headers, 'Content-Length': size, 'X-Layerswarm-Source': found.origin })
  }
  const cut = cutFor(exchange, size, OCTETS, headers.ETag ?? '')

  let open: OpenContent | undefined
  const progress = () => (open === undefined ? 0 : movedBytes(open)) + exchange.sent
  const patience = patienceWith({ byNamespace: target.byNamespace, start: cut.ranges[0]?.start ?? 0 })
  using watch = new Watch({ clock, progress, signal: exchange.signal }, patience)
  try {
    open = await images.blob(found, { signal: watch.signal })
    if (open.size !== size) throw new LayerswarmError('SIZE_MISMATCH', { detail: `${size} bytes announced, ${open.size} here` })
    const body = bodyOf(open, cut, watch.signal)
    try {
      const first = await body.next()
      watch.begun()
      outcome.source = sourceOf(open.counts())
      exchange.start(cut.status, { ...headers, ...cut.headers, 'Content-Length': cut.length, 'X-Layerswarm-Source': outcome.source })
      for (let chunk = first; chunk.done !== true; chunk = await body.next()) {
        outcome.sent(chunk.value.byteLength)
        await watch.hold(exchange.write(chunk.value))
      }
      await watch.hold(exchange.end())
    } finally {
      await body.return(undefined)
    }
  } finally {
    await open?.[Symbol.asyncDispose]()
  }
}

/** The body, whose first chunk exists only once a byte of the content may be relayed, framing or not. */
async function* bodyOf(open: OpenContent, cut: Cut, signal: AbortSignal): AsyncGenerator<Uint8Array, undefined> {
  const { ranges, framing } = cut
  const into = Buffer.allocUnsafeSlow(Math.min(cut.length, CHUNK_BYTES))
  for (const [part, range] of ranges.entries()) {
    let head = framing?.heads[part]
    for await (const chunk of open.read(range, { signal, into })) {
      if (head !== undefined) yield head
      head = undefined
      yield chunk
    }
  }
  if (framing !== undefined) yield framing.tail
}
