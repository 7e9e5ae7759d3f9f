/** Content by digest, wherever it comes from. */

import type { Digest } from '@layerswarm/core/digest.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { Abortable, ByteRange, ContentRef, ReadOptions } from './common.ts'

/** Bytes of a blob by where this host got them: already in the store, from peers, from the registry. */
export interface SourceCounts {
  readonly local: number
  readonly peer: number
  readonly registry: number
}

/** Content on its way to a client, wherever it comes from. */
export interface OpenContent extends AsyncDisposable {
  readonly size: number
  /** Where the bytes in hand came from, so far; they add up to `size` once all are here. */
  counts(): SourceCounts
  /** A number that changes while bytes come in for it, or for what comes before it; by default what `counts` tells. */
  moved?(): number
  /**
   * The bytes of `range` in order. The first chunk arrives only once it may be relayed.
   * @throws when no source is left; the client's connection must then be cut
   */
  read(range: ByteRange, options?: ReadOptions): AsyncIterable<Uint8Array>
}

/** Hit, join, or fetch: content by digest from the store, the peers, and last the registry. */
export interface ContentService {
  /**
   * @param hint what the parent manifest says of it; without a size the directory or the registry is asked
   * @throws {LayerswarmError} NOT_FOUND, REGISTRY_…, when it cannot be had anywhere
   */
  open(ref: ContentRef, hint: { readonly size?: number; readonly mediaType?: string }, options?: Abortable): Promise<OpenContent>
  /** A manifest was served: its layers may be asked for soon. One plan for all; nothing is fetched before the first is asked for. */
  expect(scope: string, layers: readonly Descriptor[]): void
  /** Content that the fleet knows under this scope although this host does not: its size and type. */
  lookup(scope: string, digest: Digest, options?: Abortable): Promise<{ size: number; mediaType?: string } | undefined>
}
