import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { createGzip } from 'node:zlib'
import type { StoredBlob } from './blob-storage.ts'
import type { Fault } from './faults.ts'
import type { RequestLog, RequestRecord } from './request-log.ts'

/** A slow reply is written in steps this many milliseconds apart. */
const RATE_STEP_MS = 20

/** One request being answered. */
export interface Exchange {
  readonly response: ServerResponse
  readonly method: string
  readonly fault: Fault
  readonly log: RequestLog
  readonly record: RequestRecord
  /** Fires when the connection is gone. */
  readonly closed: AbortSignal
}

/** An error as the OCI distribution spec words it. */
export async function sendError(exchange: Exchange, status: number, code: string, headers: Record<string, string> = {}): Promise<void> {
  const body = Buffer.from(JSON.stringify({ errors: [{ code, message: code.toLowerCase().replaceAll('_', ' '), detail: null }] }))
  await send(exchange, status, { 'content-type': 'application/json', ...headers }, body)
}

/** A small reply, whole. */
export async function send(
  exchange: Exchange,
  status: number,
  headers: Record<string, string>,
  body: Uint8Array = new Uint8Array()
): Promise<void> {
  await sendRange(exchange, status, headers, bytesAsBlob(body), 0, body.byteLength)
}

export function bytesAsBlob(bytes: Uint8Array): StoredBlob {
  return {
    size: bytes.byteLength,
    async *read(start, end) {
      if (start < end) yield bytes.subarray(start, end)
    }
  }
}

/** Writes the head and bytes `start … end - 1` of `blob`, with the faults of the exchange. */
export async function sendRange(
  exchange: Exchange,
  status: number,
  headers: Record<string, string>,
  blob: StoredBlob,
  start: number,
  end: number
): Promise<void> {
  const { response, fault, record, method } = exchange
  const padding = fault.pad ?? 0
  const all: Record<string, string | undefined> = { ...headers, 'content-length': String(padding + end - start) }
  if (fault.gzip === true) Object.assign(all, { 'content-encoding': 'gzip', 'content-length': undefined })
  record.status = status
  for (const [name, value] of Object.entries({ ...all, ...fault.headers })) if (value !== undefined) response.setHeader(name, value)
  response.writeHead(status)
  if (method === 'HEAD') {
    response.end()
    return
  }
  response.flushHeaders()
  await writeBody(exchange, faulty(padded(blob.read(start, end), padding), fault))
}

/** Answers a GET or HEAD of content, with its Range when it may have one. */
export async function sendContent(
  exchange: Exchange,
  headers: Record<string, string>,
  blob: StoredBlob,
  range: string | undefined
): Promise<void> {
  const { fault } = exchange
  const content = resized(blob, fault)
  const wanted = exchange.method === 'HEAD' || fault.noRange === true ? undefined : parseRange(range, content.size)
  const common = { ...headers, 'accept-ranges': 'bytes' }
  if (wanted === 'outside') {
    await sendError(exchange, 416, 'RANGE_INVALID', { 'content-range': `bytes */${content.size}` })
  } else if (wanted === undefined) {
    await sendRange(exchange, 200, common, content, 0, content.size)
  } else {
    const [start, end] = wanted
    await sendRange(exchange, 206, { ...common, 'content-range': `bytes ${start}-${end - 1}/${content.size}` }, content, start, end)
  }
}

/** One byte range (RFC 9110 §14.2), as start and exclusive end; undefined for anything that is to be ignored. */
function parseRange(range: string | undefined, size: number): [number, number] | 'outside' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(range ?? '')
  if (match === null) return undefined
  const [, from = '', to = ''] = match
  if (from === '') return to === '' ? undefined : [Math.max(0, size - Number(to)), size]
  const start = Number(from)
  if (start >= size) return 'outside'
  return [start, to === '' ? size : Math.min(size, Number(to) + 1)]
}

function resized(blob: StoredBlob, fault: Fault): StoredBlob {
  const size = blob.size - (fault.short ?? 0) + (fault.long ?? 0)
  if (size === blob.size) return blob
  return {
    size,
    async *read(start, end) {
      if (start < blob.size) yield* blob.read(start, Math.min(end, blob.size))
      if (end > blob.size) yield new Uint8Array(end - Math.max(start, blob.size))
    }
  }
}

async function* padded(chunks: AsyncIterable<Uint8Array>, padding: number): AsyncIterable<Uint8Array> {
  if (padding > 0) yield Buffer.alloc(padding, ' ')
  yield* chunks
}

async function* corrupted(chunks: AsyncIterable<Uint8Array>, at: number): AsyncIterable<Uint8Array> {
  let offset = 0
  for await (const chunk of chunks) {
    const copy = Uint8Array.from(chunk)
    if (at >= offset && at < offset + copy.byteLength) copy[at - offset] = (copy[at - offset] ?? 0) ^ 0xff
    offset += copy.byteLength
    yield copy
  }
}

async function* paced(chunks: AsyncIterable<Uint8Array>, rate: number): AsyncIterable<Uint8Array> {
  const step = Math.max(1, Math.round((rate * RATE_STEP_MS) / 1000))
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.byteLength; at += step) {
      yield chunk.subarray(at, at + step)
      await delay(RATE_STEP_MS)
    }
  }
}

function faulty(chunks: AsyncIterable<Uint8Array>, fault: Fault): AsyncIterable<Uint8Array> {
  let faulted = chunks
  if (fault.corruptAt !== undefined) faulted = corrupted(faulted, fault.corruptAt)
  if (fault.gzip === true) faulted = Readable.from(faulted).compose(createGzip())
  if (fault.rate !== undefined) faulted = paced(faulted, fault.rate)
  return faulted
}

async function writeBody(exchange: Exchange, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const { response, fault, log, record, closed } = exchange
  const limit = Math.min(fault.cutAfter ?? Number.POSITIVE_INFINITY, fault.stallAfter ?? Number.POSITIVE_INFINITY)
  let left = limit
  for await (const chunk of chunks) {
    closed.throwIfAborted()
    const part = chunk.byteLength > left ? chunk.subarray(0, left) : chunk
    left -= part.byteLength
    const flows = response.write(part)
    log.sent(record, part.byteLength)
    if (!flows) await once(response, 'drain', { signal: closed })
    if (left === 0) break
  }
  if (left > 0 || limit === Number.POSITIVE_INFINITY) {
    response.end()
  } else if (fault.stallAfter === limit) {
    await once(response, 'close')
  } else {
    // Not destroy(): what was written must leave before the connection closes.
    response.socket?.destroySoon()
  }
}
