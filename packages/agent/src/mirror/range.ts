/** Byte ranges of RFC 9110 §14, as image clients use them. Pure arithmetic. */
import type { ByteRange } from '../ports.ts'

/** What a request's `Range` asks of content of a known size. */
export type RangeAnswer =
  /** No range, or one that says nothing: the whole content. */
  | { readonly type: 'whole' }
  | { readonly type: 'part'; readonly range: ByteRange }
  | { readonly type: 'parts'; readonly ranges: readonly ByteRange[] }
  | { readonly type: 'unsatisfiable' }

/** Parts of one answer: lazily pulled layers ask for a few dozen. Beyond it the whole is cheaper than the headers. */
export const MAX_PARTS = 128

const WHOLE: RangeAnswer = { type: 'whole' }
const HEADER = /^\s*bytes\s*=(.*)$/i
const SPEC = /^(?:(\d+)-(\d*)|-(\d+))$/

type Spec = ByteRange | 'unsatisfiable' | 'reversed' | 'malformed'

function readSpec(text: string, size: number): Spec {
  const match = SPEC.exec(text)
  if (match === null) return 'malformed'
  if (match[3] !== undefined) {
    const last = Math.min(Number(match[3]), size)
    return last === 0 ? 'unsatisfiable' : { start: size - last, end: size }
  }
  const start = Number(match[1])
  if (match[2] === '') return start >= size ? 'unsatisfiable' : { start, end: size }
  const last = Number(match[2])
  if (last < start) return 'reversed'
  return start >= size ? 'unsatisfiable' : { start, end: Math.min(last + 1, size) }
}

/**
 * Reads a `Range` header.
 *
 * A foreign unit and anything malformed is ignored, as RFC 9110 asks; a single reversed range (`500-0`) is
 * unsatisfiable, as the distribution conformance suite asks. Several ranges are never refused, since lazy pullers give
 * up on a 416: those beyond the end are left out, and where nothing sensible remains (no part left, too many, or more
 * bytes than the whole) the whole is served.
 * @param size bytes of the whole content
 */
export function parseRange(header: string | undefined, size: number): RangeAnswer {
  const set = HEADER.exec(header ?? '')?.[1]
  if (set === undefined) return WHOLE
  const texts = set
    .split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '')
  const specs = texts.map((text) => readSpec(text, size))
  const [only] = specs
  if (only === undefined || specs.includes('malformed')) return WHOLE
  if (specs.length === 1) {
    return typeof only === 'object' ? { type: 'part', range: only } : { type: 'unsatisfiable' }
  }
  const ranges = specs.filter((spec) => typeof spec === 'object')
  const bytes = ranges.reduce((total, { start, end }) => total + end - start, 0)
  if (specs.includes('reversed') || ranges.length === 0 || ranges.length > MAX_PARTS || bytes > size) return WHOLE
  return { type: 'parts', ranges }
}

export function contentRange(range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end - 1}/${size}`
}

/** One body of `multipart/byteranges`, cut into what goes before each part and after the last. */
export interface Multipart {
  readonly contentType: string
  readonly contentLength: number
  /** The bytes before the part of the same number. */
  readonly heads: readonly Uint8Array[]
  readonly tail: Uint8Array
}

/** @param boundary must not occur in the content: callers draw a long random one */
export function multipart(ranges: readonly ByteRange[], size: number, mediaType: string, boundary: string): Multipart {
  const heads = ranges.map((range, part) =>
    Buffer.from(
      `${part === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Type: ${mediaType}\r\nContent-Range: ${contentRange(range, size)}\r\n\r\n`
    )
  )
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`)
  const payload = ranges.reduce((total, { start, end }) => total + end - start, 0)
  const framing = [...heads, tail].reduce((total, bytes) => total + bytes.byteLength, 0)
  return { contentType: `multipart/byteranges; boundary=${boundary}`, contentLength: payload + framing, heads, tail }
}

/**
 * Whether a range may be answered in parts: `If-Range` names the content by its strong entity tag, or is absent. A
 * date never matches, since content by digest has none.
 */
export function ifRangeHolds(header: string | undefined, etag: string): boolean {
  return header === undefined || header.trim() === etag
}

/** Whether `If-None-Match` names the content: a list of entity tags compared weakly, or `*`. */
export function noneMatchNames(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  return header.split(',').some((tag) => {
    const text = tag.trim()
    return text === '*' || text.replace(/^W\//, '') === etag
  })
}
