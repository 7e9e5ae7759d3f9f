import type { Clock } from '@layerswarm/core/clock.ts'
import { within } from '@layerswarm/core/deadline.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { ContentRef, FoundContent, ImageService, ResolvedTag, TagRef } from '../ports.ts'
import { FIND_MS } from './patience.ts'

interface FindDeps {
  readonly images: Pick<ImageService, 'find' | 'resolve'>
  readonly clock: Clock
}

/** @throws {LayerswarmError} STALLED, and as {@link ImageService.find} */
export async function findContent(deps: FindDeps, ref: ContentRef, signal: AbortSignal): Promise<FoundContent> {
  return await inTime(deps.clock, signal, (limit) => deps.images.find(ref, { signal: limit }))
}

/** @throws {LayerswarmError} STALLED, and as {@link ImageService.resolve} */
export async function resolveTag(deps: FindDeps, ref: TagRef, signal: AbortSignal): Promise<ResolvedTag> {
  return await inTime(deps.clock, signal, (limit) => deps.images.resolve(ref, { signal: limit }))
}

async function inTime<T>(clock: Clock, signal: AbortSignal, work: (limit: AbortSignal) => Promise<T>): Promise<T> {
  const late = () => new LayerswarmError('STALLED', { detail: `no answer within ${FIND_MS} ms` })
  return await within({ clock, ms: FIND_MS, late, signal }, work)
}
