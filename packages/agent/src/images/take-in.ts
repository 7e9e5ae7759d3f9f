import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { Abortable, ImageSource } from '../ports.ts'
import { walkSource } from './read-source.ts'
import { blobsOf, isForeign, unique } from './walk.ts'

/** Where content goes: a store here, or an agent's. */
export interface ContentSink {
  has(content: Descriptor, options?: Abortable): Promise<boolean>
  /** @throws {LayerswarmError} SIZE_MISMATCH, DIGEST_MISMATCH, STORE_FULL, STORE_FAILED; what reading throws */
  put(content: Descriptor, bytes: AsyncIterable<Uint8Array>, options?: Abortable): Promise<void>
}

export interface TakeInProgress {
  readonly digest: Digest
  readonly size: number
  readonly bytes: number
  readonly done: boolean
}

/**
 * Copies everything of an image to where it is not yet, one after the other: blobs, then manifests.
 * @throws {LayerswarmError} SOURCE_INVALID for content that the source names and lacks, and as {@link ContentSink.put}
 */
export async function takeIn(
  source: ImageSource,
  sink: ContentSink,
  { onProgress, ...options }: Abortable & { readonly onProgress?: (progress: TakeInProgress) => void } = {}
): Promise<void> {
  const { manifests, missing } = await walkSource(source, options)
  const [absent] = missing
  if (absent !== undefined) throw new LayerswarmError('SOURCE_INVALID', { detail: `it lacks ${absent.digest}, which its index names` })
  const blobs = unique(manifests.flatMap(({ manifest }) => blobsOf(manifest))).filter((blob) => !isForeign(blob))
  for (const content of [...blobs, ...manifests.map(({ descriptor }) => descriptor)]) {
    if (await sink.has(content, options)) continue
    const { digest, size } = content
    const counted = async function* (): AsyncGenerator<Uint8Array> {
      let bytes = 0
      for await (const chunk of source.read(content, options)) {
        yield chunk
        bytes += chunk.byteLength
        onProgress?.({ digest, size, bytes, done: false })
      }
    }
    await sink.put(content, counted(), options)
    onProgress?.({ digest, size, bytes: size, done: true })
  }
}
