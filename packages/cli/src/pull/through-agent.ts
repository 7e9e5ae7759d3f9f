import {
  type ErrorReply,
  errorReply,
  NDJSON_TYPE,
  PULL_PATH,
  type PullLine,
  type PullProgress,
  type PullRequest,
  type PullSummary,
  pullLine
} from '@layerswarm/core/api/local-api.ts'
import { isLoopback } from '@layerswarm/core/config/addresses.ts'
import { describeError, ERRORS, type ErrorCode, LayerswarmError } from '@layerswarm/core/errors.ts'

/** Longest line that the agent sends: an error's detail, some hundred bytes. */
const MAX_LINE = 64 * 1024

interface PullWatch {
  readonly signal: AbortSignal
  readonly onProgress: (progress: PullProgress) => void
}

/**
 * Has the agent at `agentUrl` pull an image.
 * @returns undefined when no agent runs there and it would be this host's
 * @throws {LayerswarmError} AGENT_UNREACHABLE, or what the agent reports
 */
export async function pullThroughAgent(agentUrl: URL, request: PullRequest, watch: PullWatch): Promise<PullSummary | undefined> {
  const response = await ask(agentUrl, request, watch.signal)
  if (response === undefined) return undefined
  if (response.status !== 200 || response.body === null) throw await refusal(agentUrl, response)
  for await (const line of pullLines(response.body, agentUrl, watch.signal)) {
    if ('summary' in line) return line.summary
    if ('error' in line) throw reported(line)
    watch.onProgress(line.progress)
  }
  throw new LayerswarmError('AGENT_UNREACHABLE', { detail: `${agentUrl.href} broke off: is the agent stopping?` })
}

async function refusal(agentUrl: URL, response: Response): Promise<Error> {
  const { success, data } = errorReply.safeParse(await response.json().catch(() => undefined))
  if (success) return reported(data)
  return new LayerswarmError('AGENT_UNREACHABLE', { detail: `${agentUrl.href} answers ${response.status}, as no agent does` })
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

async function* pullLines(body: ReadableStream<Uint8Array>, agentUrl: URL, signal: AbortSignal): AsyncIterable<PullLine> {
  try {
    for await (const line of lines(body)) yield readLine(line)
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

function readLine(text: string): PullLine {
  const { success, data } = pullLine.safeParse(JSON.parse(text))
  if (success) return data
  throw new Error('a line of another version')
}

/** The agent's failure, as if it had happened here. */
function reported({ error: { code, message } }: ErrorReply): Error {
  if (!(code in ERRORS)) return new Error(message)
  const known = code as ErrorCode
  const prefix = `${ERRORS[known].text}: `
  return new LayerswarmError(known, message.startsWith(prefix) ? { detail: message.slice(prefix.length) } : {})
}
