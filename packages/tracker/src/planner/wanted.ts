import type { Digest } from '@layerswarm/core/digest.ts'
import { layoutOf } from '@layerswarm/core/piece-layout.ts'
import { blobOf } from '../state/facts.ts'
import type { Blob, FleetState, Host } from '../state/model.ts'
import { MAX_PLANNED_PIECES, MAX_WANTS_PER_HOST } from './limits.ts'

/**
 * The blob that the host says it fetches, remembered from now on.
 * @param size as the host knows it
 * @returns undefined where nothing is planned for the host: it holds the blob, sees another size than others, or wants too much
 */
export function wantedBlob(state: FleetState, host: Host, digest: Digest, size: number | undefined): Blob | undefined {
  if (host.holds.has(digest)) return undefined
  const known = state.blobs.get(digest)
  const isNew = known === undefined || !host.wants.has(known)
  if (isNew && host.wants.size >= MAX_WANTS_PER_HOST) return undefined
  const layout = known?.layout ?? (size === undefined ? undefined : layoutOf(size))
  if (size !== undefined && layout?.size !== size) return undefined
  if (layout !== undefined && layout.pieces > MAX_PLANNED_PIECES) return undefined
  const blob = known ?? blobOf(state, digest)
  blob.layout ??= layout
  return blob
}
