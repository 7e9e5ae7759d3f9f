import type { Clock } from '@layerswarm/core/clock.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Manifest } from '@layerswarm/core/image/manifest.ts'
import { scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type {
  Abortable,
  ContentIndex,
  ContentRef,
  ContentService,
  FoundContent,
  ImageManifest,
  ImageService,
  OpenContent,
  Patient,
  PullOptions,
  PullSummary,
  RegistryClient,
  ResolvedTag,
  RuntimeImages,
  TagRef
} from '../ports.ts'
import { Access } from './access.ts'
import { ManifestReader } from './manifests.ts'
import { pullImage } from './pull.ts'
import { TagResolver, type TagResolverOptions } from './tags.ts'

export interface ImagesDeps {
  readonly registry: Pick<RegistryClient, 'resolve' | 'allows'>
  readonly index: ContentIndex
  readonly content: ContentService
  readonly runtime?: RuntimeImages
  readonly clock: Clock
  readonly log: Logger
}

/** Images by name, on top of content by digest. */
export class Images implements ImageService {
  readonly #deps: ImagesDeps
  readonly #tags: TagResolver
  readonly #access: Access
  readonly #manifests: ManifestReader

  constructor(deps: ImagesDeps, options: TagResolverOptions) {
    this.#deps = deps
    this.#tags = new TagResolver(deps, options)
    this.#access = new Access(deps)
    this.#manifests = new ManifestReader(deps)
  }

  async resolve(ref: TagRef, options: Patient = {}): Promise<ResolvedTag> {
    return await this.#tags.resolve(ref, options)
  }

  moved(ref: TagRef): void {
    this.#tags.moved(ref)
  }

  async find(ref: ContentRef, options: Patient = {}): Promise<FoundContent> {
    return await this.#access.find(ref, options)
  }

  async manifest(found: FoundContent, options: Abortable = {}): Promise<ImageManifest> {
    return await this.#manifests.read(found, options)
  }

  served(ref: ContentRef, manifest: Manifest): void {
    if (manifest.config === undefined) return
    this.#deps.content.expect(scopeOf(ref), [manifest.config, ...manifest.layers])
  }

  async blob(found: FoundContent, options: Abortable = {}): Promise<OpenContent> {
    const { ref, descriptor } = found
    if (descriptor.size === 0 && digestOf(new Uint8Array(0), ref.digest) !== ref.digest) {
      throw new LayerswarmError('SIZE_MISMATCH', { detail: `${ref.digest} is not empty` })
    }
    return await this.#deps.content.open(ref, { size: descriptor.size, mediaType: descriptor.mediaType }, options)
  }

  async pull(reference: string, options: PullOptions = {}): Promise<PullSummary> {
    return await pullImage({ ...this.#deps, images: this }, reference, options)
  }
}
