import type { Clock } from '@layerswarm/core/clock.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { type Descriptor, MEDIA_TYPES, type Platform } from '@layerswarm/core/image/manifest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryContentIndex } from '@layerswarm/testkit/memory-content-index.ts'
import { MemoryContentService } from '@layerswarm/testkit/memory-content-service.ts'
import { MemoryRegistryClient } from '@layerswarm/testkit/memory-registry-client.ts'
import { Images } from '../../src/images/image-service.ts'
import type { RuntimeImages } from '../../src/ports.ts'

export const SCOPE = 'docker.io/library/app'
export const REPOSITORY = { registry: 'docker.io', repository: 'library/app' } as const
const CONFIG = 'application/vnd.oci.image.config.v1+json'
export const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip'

/** The image service on a registry and a content service in memory. */
export class ImagesFixture {
  readonly clock = new ManualClock()
  readonly content = new MemoryContentService()
  readonly index = new MemoryContentIndex()
  readonly registry = new MemoryRegistryClient(['docker.io'])
  readonly images: Images

  constructor(options: { staleTags?: 'off' | 'host'; clock?: Clock; runtime?: RuntimeImages } = {}) {
    const { staleTags = 'host', clock = this.clock, runtime } = options
    const { content, index, registry } = this
    const log = createLogger({ level: 'silent' })
    this.images = new Images({ content, index, registry, clock, log, ...(runtime && { runtime }) }, { staleTags })
  }

  put(kind: 'blob' | 'manifest', text: string, mediaType: string, tag?: string): Descriptor {
    const bytes = Buffer.from(text)
    this.content.blobs.set(digestOf(bytes), bytes)
    return this.registry.put(SCOPE, kind, bytes, { mediaType, ...(tag === undefined ? {} : { tag }) })
  }

  /** A manifest of a platform, with layers of the given texts. */
  manifest(platform: Platform, layers: readonly string[], options: { tag?: string; layerType?: string } = {}): Descriptor {
    const config = this.put('blob', JSON.stringify(platform), CONFIG)
    const blobs = layers.map((text) => this.put('blob', text, options.layerType ?? LAYER))
    const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: blobs }
    return this.put('manifest', JSON.stringify(document), MEDIA_TYPES.ociManifest, options.tag)
  }

  indexOf(manifests: readonly Descriptor[], tag?: string): Descriptor {
    return this.put('manifest', JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }), MEDIA_TYPES.ociIndex, tag)
  }
}
