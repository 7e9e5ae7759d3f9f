import type { Clock } from '@layerswarm/core/clock.ts'
import { within } from '@layerswarm/core/deadline.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { ContentRef, FoundContent, ImageService, RegistryClient, ResolvedTag, TagRef } from '../ports.ts'
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

/**
 * What the registry itself says of content now.
 * @returns undefined where it cannot be asked
 * @throws {LayerswarmError} BLOB_UNKNOWN, MANIFEST_UNKNOWN
 */
export async function atRegistry(
  { registry, clock }: { readonly registry: Pick<RegistryClient, 'resolve'>; readonly clock: Clock },
  ref: ContentRef,
  signal: AbortSignal
): Promise<Descriptor | undefined> {
  try {
    return await inTime(clock, signal, (limit) => registry.resolve(ref, { signal: limit }))
  } catch (error) {
    signal.throwIfAborted()
    if (!isLayerswarmError(error, 'NOT_FOUND')) return undefined
    throw new LayerswarmError(ref.kind === 'blob' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN', { detail: ref.digest, cause: error })
  }
}

async function inTime<T>(clock: Clock, signal: AbortSignal, work: (limit: AbortSignal) => Promise<T>): Promise<T> {
  const late = () => new LayerswarmError('STALLED', { detail: `no answer within ${FIND_MS} ms` })
  return await within({ clock, ms: FIND_MS, late, signal }, work)
}
