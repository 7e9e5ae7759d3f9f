/** What a user does with the images of this host, with or without a running agent. */
import type { CheckLine, CheckRequest, GcReply, HeldBlob, ImagesLine } from '@layerswarm/core/api/images-api.ts'
import type { PushRequest, PushSummary } from '@layerswarm/core/api/push-api.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import { parsePlatform } from '@layerswarm/core/image/platform.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type {
  Abortable,
  BlobStore,
  ContentIndex,
  ContentRef,
  ForeignSource,
  ImageService,
  ImageSource,
  LocalImageService,
  RegistryClient,
  RegistryUploads
} from '../ports.ts'
import { type CheckDeps, checkImages } from './check.ts'
import { Inventory, type SurveyedImage, surveyOrSkip, usageOf } from './inventory.ts'
import { type PushOptions, pushImage } from './push.ts'
import { foreignSource, namedSource, storeSource } from './sources.ts'
import { storeBlob } from './store-blob.ts'
import type { ContentSink } from './take-in.ts'

export interface LocalImagesDeps {
  readonly store: BlobStore & {
    evict(options?: Abortable): Promise<readonly Digest[]>
    usage(): { readonly complete: number; readonly partial: number }
    readonly maxBytes: number
  } & CheckDeps['store']
  readonly index: ContentIndex
  readonly containerd: ForeignSource
  readonly images: ImageService
  readonly uploads: RegistryUploads
  readonly registry: Pick<RegistryClient, 'resolve' | 'content'>
  readonly clock: Clock
  readonly log: Logger
}

/** `all`, or platforms as users write them. @throws {LayerswarmError} PLATFORM_UNKNOWN */
function platformsOf(platforms: CheckRequest['platforms']) {
  return platforms === undefined || platforms === 'all' ? platforms : platforms.map(parsePlatform)
}

export class LocalImages implements LocalImageService, ContentSink {
  readonly #deps: LocalImagesDeps

  constructor(deps: LocalImagesDeps) {
    this.#deps = deps
  }

  /** Every image that this host knows, then the totals. @throws {LayerswarmError} PLATFORM_UNKNOWN, STORE_FAILED */
  async *list(platforms: CheckRequest['platforms'], options: Abortable = {}): AsyncGenerator<ImagesLine> {
    const wanted = { ...options, platforms: platformsOf(platforms) }
    const surveyed: SurveyedImage[] = []
    const inventory = new Inventory(this.#deps)
    for await (const named of inventory.names()) {
      options.signal?.throwIfAborted()
      const image = await surveyOrSkip(inventory, named, wanted)
      if (image === undefined) continue
      surveyed.push(image)
      yield { image: image.told }
    }
    yield { totals: (await usageOf(this.#deps.store, surveyed)).totals }
  }

  /** Every blob held, whole or in part, with the images that use it. */
  async *blobs(options: Abortable = {}): AsyncGenerator<HeldBlob> {
    const inventory = new Inventory(this.#deps)
    const surveyed: SurveyedImage[] = []
    for await (const named of inventory.names()) {
      options.signal?.throwIfAborted()
      const image = await surveyOrSkip(inventory, named, options)
      if (image !== undefined) surveyed.push(image)
    }
    const { blobs, images } = await usageOf(this.#deps.store, surveyed)
    for (const blob of blobs) yield { ...blob, images: [...(images.get(blob.digest) ?? [])] }
  }

  /** See {@link checkImages}. */
  check({ image, platforms, verify, repair }: CheckRequest, options: Abortable = {}): AsyncGenerator<CheckLine> {
    return checkImages(this.#deps, { ...options, image, platforms: platformsOf(platforms), verify, repair })
  }

  /** Evicts by policy now. @throws {LayerswarmError} STORE_FAILED; the signal's reason, with what went until then gone */
  async gc(options: Abortable = {}): Promise<GcReply> {
    const { store, log } = this.#deps
    const before = new Map((await Array.fromAsync(store.list())).map((blob) => [blob.digest, blob]))
    const evicted = (await store.evict(options)).flatMap((digest) => {
      const blob = before.get(digest)
      return blob === undefined ? [] : [{ digest, size: blob.size, state: blob.state, present: blob.present }]
    })
    const bytes = evicted.reduce((sum, { present }) => sum + present, 0)
    const { complete, partial } = store.usage()
    log.info({ blobs: evicted.length, bytes }, 'evicted on request')
    return { evicted: evicted.map(({ present: _, ...blob }) => blob), bytes, kept: complete + partial, bound: store.maxBytes }
  }

  /** @throws {LayerswarmError} IMAGE_UNKNOWN, and as {@link pushImage} */
  async push({ image, from }: PushRequest, options: PushOptions = {}): Promise<PushSummary> {
    const { store } = this.#deps
    await using source = 'root' in from ? storeSource(store, from.root) : await this.#named(from, options)
    return await pushImage(this.#deps, image, source, options)
  }

  /** An image by the name that this host knows it by. @throws {LayerswarmError} IMAGE_UNKNOWN, REFERENCE_INVALID */
  async source(reference: string): Promise<ImageSource> {
    return await namedSource(this.#deps, reference)
  }

  async #named({ image, at }: Extract<PushRequest['from'], { image: string }>, { signal }: Abortable): Promise<ImageSource> {
    if (at === undefined) return await namedSource(this.#deps, image)
    const foreign = this.#deps.containerd
    return await foreignSource({ ...this.#deps, foreign }, image, signal === undefined ? {} : { signal })
  }

  async has({ digest }: Descriptor): Promise<boolean> {
    return (await this.#deps.store.stat(digest))?.state === 'complete'
  }

  async put(content: Pick<Descriptor, 'digest' | 'size'>, bytes: AsyncIterable<Uint8Array>, options: Abortable = {}): Promise<void> {
    await storeBlob(this.#deps.store, content, bytes, options)
  }

  /** Content of a repository, fetched where it is not here. @throws {LayerswarmError} BLOB_UNKNOWN, MANIFEST_UNKNOWN, REGISTRY_… */
  async content(ref: ContentRef, options: Abortable = {}) {
    const { images } = this.#deps
    return await images.blob(await images.find(ref, options), options)
  }
}
