import type { ServerResponse } from 'node:http'
import { type ErrorReply, NDJSON_TYPE, type PullLine, pullRequest } from '@layerswarm/core/api/local-api.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Platform } from '@layerswarm/core/image/manifest.ts'
import { parsePlatform } from '@layerswarm/core/image/platform.ts'
import type { ImageService } from '../ports.ts'

/** What `POST /v1/pull` takes. */
export interface PullRequest {
  readonly image: string
  readonly platforms: readonly Platform[] | 'all' | undefined
}

/** @throws {LayerswarmError} REQUEST_INVALID, PLATFORM_UNKNOWN */
export function readPullRequest(body: unknown): PullRequest {
  const parsed = pullRequest.safeParse(body)
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
    throw new LayerswarmError('REQUEST_INVALID', { detail: issues.join('; ') })
  }
  const { image, platforms } = parsed.data
  return { image, platforms: platforms === 'all' ? platforms : platforms?.map(parsePlatform) }
}

/** An error as this API tells it. */
export function toldError(error: unknown): ErrorReply['error'] {
  if (error instanceof LayerswarmError) return { code: error.code, message: describeError(error), remedy: error.remedy }
  return { code: 'UNKNOWN', message: describeError(error), remedy: "see the agent's log" }
}

/**
 * Pulls an image and tells how it goes, a JSON document per line. The status says only that the pull began. A client
 * that goes away ends the pull.
 * @param stopping ends it too, as the agent does
 */
export async function streamPull(
  images: Pick<ImageService, 'pull'>,
  request: PullRequest,
  response: ServerResponse,
  stopping: AbortSignal
): Promise<void> {
  const { image, platforms } = request
  const gone = new AbortController()
  response.on('close', () => gone.abort(new DOMException('the client went away', 'AbortError')))
  response.on('error', () => undefined)
  response.writeHead(200, { 'Content-Type': NDJSON_TYPE, 'Cache-Control': 'no-store' })
  response.flushHeaders()
  const tell = (line: PullLine) => response.write(`${JSON.stringify(line)}\n`)
  try {
    const summary = await images.pull(image, {
      signal: AbortSignal.any([gone.signal, stopping]),
      ...(platforms === undefined ? {} : { platforms }),
      // A client that reads slowly misses steps, and never the end of a blob.
      onProgress: (progress) => {
        if (progress.done || !response.writableNeedDrain) tell({ progress })
      }
    })
    tell({ summary })
  } catch (error) {
    if (!gone.signal.aborted) tell({ error: toldError(error) })
  }
  response.end()
}
