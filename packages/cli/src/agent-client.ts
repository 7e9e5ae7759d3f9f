/** HTTP with an agent: what this host's agent is asked, and how it answers. */
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { request as requestSecure } from 'node:https'
import { Readable } from 'node:stream'
import { text as collect } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { type ErrorReply, errorReply, NDJSON_TYPE } from '@layerswarm/core/api/local-api.ts'
import { isLoopback } from '@layerswarm/core/config/addresses.ts'
import { describeError, ERRORS, type ErrorCode, LayerswarmError } from '@layerswarm/core/errors.ts'

/** Longest line that an agent sends: a summary that names thousands of blobs. */
const MAX_LINE = 16 * 1024 * 1024

/** What an answer has to look like. */
export interface Shape<T> {
  safeParse(value: unknown): { readonly success: true; readonly data: T } | { readonly success: false; readonly data?: undefined }
}

interface Ask {
  readonly method?: 'GET' | 'POST'
  /** Goes as JSON. */
  readonly body?: object
  readonly signal: AbortSignal
}

/**
 * Asks the agent at `agentUrl`.
 * @returns undefined when no agent runs there and it would be this host's
 * @throws {LayerswarmError} AGENT_UNREACHABLE
 */
export async function askAgent(agentUrl: URL, path: string, ask: Ask): Promise<Response | undefined> {
  const { method = 'GET', body, signal } = ask
  const url = new URL(path, agentUrl)
  const json = body === undefined ? undefined : JSON.stringify(body)
  const content = json === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(json) }
  const how = { method, headers: { accept: NDJSON_TYPE, ...content }, signal }
  try {
    // `fetch` gives up an answer that says nothing for five minutes, as one does while a large blob is hashed.
    const asking = (url.protocol === 'https:' ? requestSecure : request)(url, how)
    asking.end(json)
    const [response] = (await once(asking, 'response')) as [IncomingMessage]
    return new Response(Readable.toWeb(response), { status: response.statusCode ?? 500 })
  } catch (error) {
    signal.throwIfAborted()
    if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED' && isLoopback(hostOf(agentUrl))) return undefined
    throw new LayerswarmError('AGENT_UNREACHABLE', { detail: `${agentUrl.href}: ${describeError(error)}` })
  }
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1')
}

/** @returns the agent's refusal, or what says that no agent answers there */
export async function refusal(agentUrl: URL, response: Response): Promise<Error> {
  const { success, data } = errorReply.safeParse(await response.json().catch(() => undefined))
  if (success) return reported(data)
  return new LayerswarmError('AGENT_UNREACHABLE', { detail: `${agentUrl.href} answers ${response.status}, as no agent does` })
}

/**
 * The lines of an answer. A line that tells a failure is thrown.
 * @throws {LayerswarmError} what the agent reports; AGENT_UNREACHABLE when it breaks off, or is of another version
 */
export async function* answerLines<T>(
  agentUrl: URL,
  response: Response,
  line: Shape<T>,
  signal: AbortSignal
): AsyncGenerator<Exclude<T, ErrorReply>> {
  if (response.status !== 200 || response.body === null) throw await refusal(agentUrl, response)
  const read = parsed(response.body, line, agentUrl, signal)
  for await (const one of read) {
    if (isError(one)) throw reported(one)
    yield one as Exclude<T, ErrorReply>
  }
}

/** @throws {LayerswarmError} what the agent reports, AGENT_UNREACHABLE */
export async function answer<T>(agentUrl: URL, response: Response, shape: Shape<T>): Promise<T> {
  if (response.status !== 200) throw await refusal(agentUrl, response)
  const { success, data } = shape.safeParse(await response.json().catch(() => undefined))
  if (success) return data
  throw new LayerswarmError('AGENT_UNREACHABLE', { detail: `${agentUrl.href} answers as another version does` })
}

/**
 * Gives an agent a blob. `fetch` would send a stream without its length, which the agent needs to know first.
 * @throws {LayerswarmError} what the agent reports, AGENT_UNREACHABLE; what `bytes` throws
 */
export async function putBlob(url: URL, size: number, bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  const headers = { 'content-type': 'application/octet-stream', 'content-length': size }
  const sending = (url.protocol === 'https:' ? requestSecure : request)(url, { method: 'POST', headers, signal })
  const answered = once(sending, 'response') as Promise<[IncomingMessage]>
  answered.catch(() => undefined)
  const source: { failure?: unknown } = {}
  try {
    // An agent that refuses answers before all is sent; the break that follows is none of the source's.
    await Promise.race([pipeline(noting(bytes, source), sending), answered])
    const [response] = await answered
    const text = await collect(response)
    if (response.statusCode !== 200) throw await refusal(new URL(url.origin), new Response(text, { status: response.statusCode ?? 500 }))
  } catch (error) {
    signal.throwIfAborted()
    if ('failure' in source) throw source.failure
    if (error instanceof LayerswarmError) throw error
    throw brokeOff(new URL(url.origin), error)
  } finally {
    sending.destroy()
  }
}

async function* noting(bytes: AsyncIterable<Uint8Array>, source: { failure?: unknown }): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes
  } catch (error) {
    source.failure = error
    throw error
  }
}

/** The agent ended before it had said all. */
export function brokeOff(agentUrl: URL, cause?: unknown): LayerswarmError {
  const detail = `${agentUrl.href} broke off`
  return new LayerswarmError('AGENT_UNREACHABLE', cause === undefined ? { detail: `${detail}: is the agent stopping?` } : { detail, cause })
}

async function* parsed<T>(body: ReadableStream<Uint8Array>, line: Shape<T>, agentUrl: URL, signal: AbortSignal): AsyncGenerator<T> {
  try {
    for await (const text of lines(body)) {
      const { success, data } = line.safeParse(JSON.parse(text))
      if (!success) throw new Error('a line of another version')
      yield data
    }
  } catch (error) {
    signal.throwIfAborted()
    throw brokeOff(agentUrl, error)
  }
}

async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = ''
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    if (rest.length > MAX_LINE) throw new Error('a line is too long')
    yield* parts.filter((part) => part !== '')
  }
}

function isError(line: unknown): line is ErrorReply {
  return typeof line === 'object' && line !== null && 'error' in line
}

/** A daemon's failure, as if it had happened here. */
export function reported({ error: { code, message } }: ErrorReply): Error {
  if (!(code in ERRORS)) return new Error(message)
  const known = code as ErrorCode
  const { text } = ERRORS[known]
  if (!message.startsWith(text)) return new LayerswarmError(known)
  const rest = message.slice(text.length)
  if (rest.startsWith(': ')) return new LayerswarmError(known, { detail: rest.slice(2) })
  // One without a detail is told with what caused it, in brackets.
  const cause = /^ \((.*)\)$/s.exec(rest)?.[1]
  return new LayerswarmError(known, cause === undefined ? {} : { cause: new Error(cause) })
}
