import type { ServerResponse } from 'node:http'
import { pullRequest } from '@layerswarm/core/api/local-api.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Platform } from '@layerswarm/core/image/manifest.ts'
import { parsePlatform } from '@layerswarm/core/image/platform.ts'
import type { ImageService } from '../ports.ts'
import { streamWork } from './line-stream.ts'

/** What `POST /v1/pull` takes. */
export interface PullRequest {
  readonly image: string
  readonly platforms: readonly Platform[] | 'all' | undefined
  readonly containerd?: string | undefined
}

/** @throws {LayerswarmError} REQUEST_INVALID, PLATFORM_UNKNOWN */
export function readPullRequest(body: unknown): PullRequest {
  const parsed = pullRequest.safeParse(body)
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
    throw new LayerswarmError('REQUEST_INVALID', { detail: issues.join('; ') })
  }
  const { image, platforms, containerd } = parsed.data
  return { image, platforms: platforms === 'all' ? platforms : platforms?.map(parsePlatform), containerd }
}

/**
 * Pulls an image and tells how it goes, a JSON document per line. The status says only that the pull began. A client
 * that goes away ends the pull.
 * @param stopping ends it too, as the agent does
 */
export async function streamPull(
  images: Pick<ImageService, 'pull'>,
  { image, platforms, containerd }: PullRequest,
  response: ServerResponse,
  stopping: AbortSignal
): Promise<void> {
  await streamWork(response, stopping, ({ signal, onProgress }) =>
    images.pull(image, { signal, onProgress, ...(platforms && { platforms }), ...(containerd !== undefined && { containerd }) })
  )
}
