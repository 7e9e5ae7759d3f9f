import type { Clock } from '@layerswarm/core/clock.ts'
import { within } from '@layerswarm/core/deadline.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { ContentRef, FoundContent, ImageService, RegistryClient, ResolvedTag, TagRef } from '../ports.ts'
import { FIND_MS, LOOK_MS } from './patience.ts'

interface FindDeps {
  readonly images: Pick<ImageService, 'find' | 'resolve'>
  readonly clock: Clock
}

/** @throws {LayerswarmError} STALLED, and as {@link ImageService.find} */
export async function findContent(deps: FindDeps, ref: ContentRef, signal: AbortSignal): Promise<FoundContent> {
  return await inTime({ clock: deps.clock, ms: FIND_MS, signal }, (limit) => deps.images.find(ref, { signal: limit }))
}

/** @throws {LayerswarmError} STALLED, and as {@link ImageService.resolve} */
export async function resolveTag(deps: FindDeps, ref: TagRef, signal: AbortSignal): Promise<ResolvedTag> {
  return await inTime({ clock: deps.clock, ms: FIND_MS, signal }, (limit) => deps.images.resolve(ref, { signal: limit }))
}

/**
 * What the registry itself says of content now. Who looks for a blob is about to push: nobody else's word will do, or the
 * registry never gets it. Who looks for a manifest may as well pull, from a mirror that goes on without its registry.
 * @returns undefined for a manifest while the registry cannot be asked
 * @throws {LayerswarmError} BLOB_UNKNOWN, MANIFEST_UNKNOWN, REGISTRY_DENIED; for a blob also STALLED and the other REGISTRY_…
 */
export async function atRegistry(
  { registry, clock }: { readonly registry: Pick<RegistryClient, 'resolve'>; readonly clock: Clock },
  ref: ContentRef,
  signal: AbortSignal
): Promise<Descriptor | undefined> {
  const isBlob = ref.kind === 'blob'
  try {
    return await inTime({ clock, ms: isBlob ? LOOK_MS : FIND_MS, signal }, (limit) => registry.resolve(ref, { signal: limit }))
  } catch (error) {
    signal.throwIfAborted()
    if (isLayerswarmError(error, 'NOT_FOUND')) {
      throw new LayerswarmError(isBlob ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN', { detail: ref.digest, cause: error })
    }
    if (isBlob || !isLayerswarmError(error, 'REGISTRY_UNREACHABLE', 'REGISTRY_FAILED', 'REGISTRY_BUSY', 'STALLED')) throw error
    return undefined
  }
}

async function inTime<T>(
  { clock, ms, signal }: { readonly clock: Clock; readonly ms: number; readonly signal: AbortSignal },
  work: (limit: AbortSignal) => Promise<T>
): Promise<T> {
  const late = () => new LayerswarmError('STALLED', { detail: `no answer within ${ms} ms` })
  return await within({ clock, ms, late, signal }, work)
}
