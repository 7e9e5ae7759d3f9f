import { NDJSON_TYPE, PULL_PATH, type PullEvent, type PullRequest, pullEvent } from '@layerswarm/core/api/local-api.ts'
import { isLoopback } from '@layerswarm/core/config/addresses.ts'
import { describeError, ERRORS, type ErrorCode, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { BlobProgress, PullDone } from './view.ts'

/** Longest line that the agent sends: an error's detail, some hundred bytes. */
const MAX_LINE = 64 * 1024

interface PullWatch {
  readonly signal: AbortSignal
  readonly onProgress: (progress: BlobProgress) => void
}

/**
 * Has the agent at `agentUrl` pull an image.
 * @returns undefined when no agent runs there and it would be this host's
 * @throws {LayerswarmError} AGENT_UNREACHABLE, or what the agent reports
 */
export async function pullThroughAgent(agentUrl: URL, request: PullRequest, watch: PullWatch): Promise<PullDone | undefined> {
  const response = await ask(agentUrl, request, watch.signal)
  if (response === undefined) return undefined
  if (response.status !== 200 || response.body === null || response.headers.get('content-type')?.startsWith(NDJSON_TYPE) !== true) {
    throw new LayerswarmError('AGENT_UNREACHABLE', { detail: `${agentUrl.href} answers ${response.status}, as no agent does` })
  }
  for await (const event of events(response.body, agentUrl, watch.signal)) {
    if (event.event === 'done') return event
    if (event.event === 'failed') throw reported(event)
    watch.onProgress(event)
  }
  throw new LayerswarmError('AGENT_UNREACHABLE', { detail: `${agentUrl.href} broke off: is the agent stopping?` })
}

async function ask(agentUrl: URL, request: PullRequest, signal: AbortSignal): Promise<Response | undefined> {
  try {
    const headers = { 'content-type': 'application/json', accept: NDJSON_TYPE }
    return await fetch(new URL(PULL_PATH, agentUrl), { method: 'POST', headers, body: JSON.stringify(request), signal })
  } catch (error) {
    if (signal.aborted) throw error
    const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined
    if (cause?.code === 'ECONNREFUSED' && isLoopback(hostOf(agentUrl))) return undefined
    throw new LayerswarmError('AGENT_UNREACHABLE', { detail: `${agentUrl.href}: ${describeError(cause ?? error)}`, cause: error })
  }
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1')
}

async function* events(body: ReadableStream<Uint8Array>, agentUrl: URL, signal: AbortSignal): AsyncIterable<PullEvent> {
  try {
    for await (const line of lines(body)) yield readEvent(line)
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw new LayerswarmError('AGENT_UNREACHABLE', { detail: `${agentUrl.href} broke off`, cause: error })
  }
}

async function* lines(body: ReadableStream<Uint8Array>): AsyncIterable<string> {
  let rest = ''
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    if (rest.length > MAX_LINE) throw new Error('a line is too long')
    yield* parts.filter((line) => line !== '')
  }
}

function readEvent(line: string): PullEvent {
  const { success, data } = pullEvent.safeParse(JSON.parse(line))
  if (success) return data
  throw new Error('an event of another version')
}

/** The agent's failure, as if it had happened here. */
function reported({ code, detail }: Extract<PullEvent, { event: 'failed' }>): Error {
  if (!(code in ERRORS)) return new Error(`${code}${detail === undefined ? '' : `: ${detail}`}`)
  return new LayerswarmError(code as ErrorCode, detail === undefined ? {} : { detail })
}
