import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { TestImage } from '@layerswarm/testkit/oci-image.ts'

/** What a registry holds of an image that was built for a test; its bytes stay where they were built. */
export interface PublishedImage extends Pick<TestImage, 'root' | 'manifest' | 'config' | 'layers'> {
  readonly manifests: readonly Descriptor[]
  /** Configs and layers, those of attestations too. */
  readonly blobs: readonly { readonly digest: string; readonly size: number }[]
}

export function describeImage(image: TestImage): PublishedImage {
  const { root, manifest, config, layers } = image
  return {
    root,
    manifest,
    config,
    layers,
    manifests: image.manifests.map(({ descriptor }) => descriptor),
    blobs: [...image.blobs.values()].map(({ digest, size }) => ({ digest, size }))
  }
}

/** The bytes of the layers and the config: what a host has to fetch for it beside manifests. */
export function payloadBytes(image: PublishedImage): number {
  return [image.config, ...image.layers].reduce((total, { size }) => total + size, 0)
}
