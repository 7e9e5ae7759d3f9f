import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import { formatReference, type ImageReference } from '@layerswarm/core/image/reference.ts'
import type { Abortable, ContentRef, ImageManifest, ImageService, PullSummary, RuntimeContent, RuntimeImages } from '../ports.ts'

interface IntoRuntimeDeps {
  readonly images: Pick<ImageService, 'find' | 'blob'>
  readonly runtime?: RuntimeImages | undefined
}

/** An image that was pulled: its manifests, the root first, and the configurations and layers that are here. */
interface PulledImage {
  readonly image: ImageReference
  readonly root: Descriptor
  readonly manifests: readonly ImageManifest[]
  readonly blobs: readonly Descriptor[]
}

/** @throws {LayerswarmError} CONTAINERD_FAILED */
export function runtimeOf({ runtime }: Pick<IntoRuntimeDeps, 'runtime'>): RuntimeImages {
  if (runtime === undefined) throw new LayerswarmError('CONTAINERD_FAILED', { detail: 'there is none on this host' })
  return runtime
}

/** @throws {LayerswarmError} CONTAINERD_FAILED, and as {@link ImageService.blob} */
export async function intoRuntime(
  { images, ...deps }: IntoRuntimeDeps,
  { image, root, manifests, blobs }: PulledImage,
  { namespace, signal }: Abortable & { readonly namespace: string }
): Promise<NonNullable<PullSummary['containerd']>> {
  const runtime = runtimeOf(deps)
  const { registry, repository } = image
  const layers = blobs.map(({ digest, size }): RuntimeContent => {
    const ref: ContentRef = { registry, repository, digest, kind: 'blob' }
    return { digest, size, manifest: undefined, read: (options) => bytesOf(images, ref, options) }
  })
  const documents = manifests.map(({ descriptor, manifest, bytes }): RuntimeContent => {
    const read = async function* () {
      yield bytes
    }
    return { digest: descriptor.digest, size: descriptor.size, manifest, read }
  })
  const content = [...layers, ...documents.reverse()]
  const given = await runtime.put({ namespace, name: formatReference(image), root, content }, signal === undefined ? {} : { signal })
  return { namespace, ...given }
}

async function* bytesOf(images: IntoRuntimeDeps['images'], ref: ContentRef, options: Abortable = {}): AsyncGenerator<Uint8Array> {
  await using open = await images.blob(await images.find(ref, options), options)
  if (open.size > 0) yield* open.read({ start: 0, end: open.size }, options)
}
