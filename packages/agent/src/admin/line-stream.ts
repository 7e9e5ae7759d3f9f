import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { NDJSON_TYPE, toldError } from '@layerswarm/core/api/local-api.ts'
import type { FastifyReply } from 'fastify'

interface Work<P> {
  /** Fires when the client has gone, or the agent stops. */
  readonly signal: AbortSignal
  readonly onProgress: (progress: P) => void
}

/**
 * Does work that takes time and tells how it goes, a JSON document per line: `progress`, then `summary` or `error`. The
 * status says only that it began.
 */
export async function streamWork<P extends { readonly done: boolean }>(
  response: ServerResponse,
  stopping: AbortSignal,
  work: (how: Work<P>) => Promise<object>
): Promise<void> {
  const gone = signalOf(response)
  response.on('error', () => undefined)
  response.writeHead(200, { 'Content-Type': NDJSON_TYPE, 'Cache-Control': 'no-store' })
  response.flushHeaders()
  const tell = (line: object) => response.write(`${JSON.stringify(line)}\n`)
  try {
    const summary = await work({
      signal: AbortSignal.any([gone, stopping]),
      // A client that reads slowly misses steps, and never the end of a blob.
      onProgress: (progress) => {
        if (progress.done || !response.writableNeedDrain) tell({ progress })
      }
    })
    tell({ summary })
  } catch (error) {
    if (!gone.aborted) tell({ error: toldError(error) })
  }
  response.end()
}

/** Sends what `make` yields as it comes, a JSON document per line; a failure is the last one. */
export function sendLines(reply: FastifyReply, stopping: AbortSignal, make: (signal: AbortSignal) => AsyncIterable<object>): FastifyReply {
  const signal = AbortSignal.any([signalOf(reply.raw), stopping])
  return reply
    .type(NDJSON_TYPE)
    .header('cache-control', 'no-store')
    .send(Readable.from(lines(make(signal))))
}

async function* lines(documents: AsyncIterable<object>): AsyncGenerator<string> {
  try {
    for await (const document of documents) yield `${JSON.stringify(document)}\n`
  } catch (error) {
    yield `${JSON.stringify({ error: toldError(error) })}\n`
  }
}

export function signalOf(response: ServerResponse): AbortSignal {
  const gone = new AbortController()
  response.on('close', () => gone.abort(new DOMException('the client went away', 'AbortError')))
  return gone.signal
}
