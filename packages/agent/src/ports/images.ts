/** Images, made of content. */

import type { CheckLine, CheckRequest, GcReply, HeldBlob, ImagesLine } from '@layerswarm/core/api/images-api.ts'
import type { PushProgress, PushRequest, PushSummary } from '@layerswarm/core/api/push-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { Descriptor, Manifest, Platform } from '@layerswarm/core/image/manifest.ts'
import type { Abortable, ContentRef, TagRef } from './common.ts'
import type { OpenContent, SourceCounts } from './content.ts'
import type { IncomingBlob } from './store.ts'

/** Who said what: this host's records, the fleet, or the registry. */
export type Origin = 'local' | 'peer' | 'registry'

/** Content that may be served under the repository it was asked for. */
export interface FoundContent {
  readonly ref: ContentRef
  readonly descriptor: Descriptor
  readonly origin: Origin
}

export interface ResolvedTag {
  readonly descriptor: Descriptor
  /** Set when the registry could not be asked: this is what the tag pointed to at that time (ms since the epoch). */
  readonly staleSince?: number
  readonly origin: Origin
}

export interface ImageManifest {
  readonly descriptor: Descriptor
  /** Exactly as stored: they hash to the digest. */
  readonly bytes: Uint8Array
  readonly manifest: Manifest
  readonly counts: SourceCounts
}

/** One blob of a pull, as it moves. */
export interface PullProgress {
  readonly digest: Digest
  readonly size: number
  readonly counts: SourceCounts
  readonly done: boolean
}

export interface PullOptions extends Abortable {
  /** Layers of these platforms are fetched (default this host's); manifests of all. */
  readonly platforms?: readonly Platform[] | 'all'
  /** The namespace of containerd that gets the image too. */
  readonly containerd?: string
  /** Once, when it is known what will be fetched. bytes: of all manifests and blobs. */
  readonly onImage?: (image: { readonly digest: Digest; readonly bytes: number }) => void
  readonly onProgress?: (progress: PullProgress) => void
}

export interface PullSummary {
  /** The reference with its defaults filled in. */
  readonly image: string
  readonly digest: Digest
  readonly manifests: number
  /** Configurations and layers. */
  readonly blobs: number
  /** Layers that may only be had from elsewhere (foreign, non-distributable): left out. */
  readonly skipped: number
  /** Bytes of all manifests and blobs, each once. */
  readonly bytes: number
  readonly counts: SourceCounts
  /** The registry could not be asked for the tag. */
  readonly stale: boolean
  /** What containerd was given of it, where that was asked for. */
  readonly containerd?: { readonly namespace: string; readonly blobs: number; readonly bytes: number } | undefined
  readonly seconds: number
}

/** For a question that may have to go to a registry. */
export interface Patient extends Abortable {
  /** How long the registry may take, in milliseconds; by default 2 s, within which a HEAD must be answered. */
  readonly waitMs?: number
}

/** An image at some place: its root, and everything that belongs to it by digest. */
export interface ImageSource extends AsyncDisposable {
  readonly root: Descriptor
  /**
   * The bytes of content that the root names, directly or not, from `from` on.
   * @throws {LayerswarmError} BLOB_UNKNOWN, MANIFEST_UNKNOWN, SOURCE_INVALID, STORE_FAILED
   */
  read(content: Descriptor, options?: Abortable & { readonly from?: number }): AsyncIterable<Uint8Array>
  /**
   * Has content hashed that has not been yet. Absent where there is no such; reading waits for it, too.
   * @param options.onProgress told the bytes hashed so far
   * @throws {LayerswarmError} DIGEST_MISMATCH
   */
  prove?(content: Descriptor, options?: Abortable & { readonly onProgress?: (bytes: number) => void }): Promise<void>
}

/** Images by name: tags, manifests, and which repository may see which content. */
export interface ImageService {
  /**
   * What a tag points to, by the registry's word of at most 30 s ago.
   * @throws {LayerswarmError} MANIFEST_UNKNOWN, REGISTRY_…
   */
  resolve(ref: TagRef, options?: Patient): Promise<ResolvedTag>
  /**
   * Size and type of content, provided its repository has it. Nothing is fetched.
   * @throws {LayerswarmError} BLOB_UNKNOWN, MANIFEST_UNKNOWN, REGISTRY_…
   */
  find(ref: ContentRef, options?: Patient): Promise<FoundContent>
  /**
   * A verified manifest. Its children may be asked for in its repository from then on.
   * @throws {LayerswarmError} MANIFEST_INVALID, and as {@link find} and {@link ContentService.open}
   */
  manifest(found: FoundContent, options?: Abortable): Promise<ImageManifest>
  /** This host has moved the tag: what is known of it holds no longer. */
  moved(ref: TagRef): void
  /** A manifest is given to a client: it will want what it names. */
  served(ref: ContentRef, manifest: Manifest): void
  /** @throws as {@link ContentService.open} */
  blob(found: FoundContent, options?: Abortable): Promise<OpenContent>
  /**
   * Fetches an image into the store.
   * @throws {LayerswarmError} REFERENCE_INVALID, PLATFORM_UNKNOWN, REGISTRY_NOT_ALLOWED, and as the others here
   */
  pull(reference: string, options?: PullOptions): Promise<PullSummary>
}

/** What a registry was given through this host: it is here too then, and other hosts may have it from here. Never throws. */
export interface PushedContent {
  /** Keeps a blob, which has been proven, where this host has it nowhere else. */
  blob(ref: ContentRef, incoming: IncomingBlob): Promise<void>
  /** @param ref a tag, or the manifest's digest */
  manifest(
    ref: ContentRef | TagRef,
    content: { readonly bytes: Uint8Array; readonly descriptor: Descriptor; readonly manifest: Manifest }
  ): Promise<void>
}

/** What a user does with the images of this host, beyond pulling them. */
export interface LocalImageService {
  /** Every image that this host knows, then the totals. @throws {LayerswarmError} PLATFORM_UNKNOWN, STORE_FAILED */
  list(platforms: CheckRequest['platforms'], options?: Abortable): AsyncIterable<ImagesLine>
  /** Every blob held, whole or in part, with the images that use it. */
  blobs(options?: Abortable): AsyncIterable<HeldBlob>
  /**
   * Checks images and says what it finds as it goes; the last line is the summary.
   * @throws {LayerswarmError} IMAGE_UNKNOWN, REFERENCE_INVALID, PLATFORM_UNKNOWN, STORE_FAILED
   */
  check(request: CheckRequest, options?: Abortable): AsyncIterable<CheckLine>
  /** Evicts by policy now. @throws {LayerswarmError} STORE_FAILED; the signal's reason, with what went until then gone */
  gc(options?: Abortable): Promise<GcReply>
  /** @throws {LayerswarmError} IMAGE_UNKNOWN, REFERENCE_INVALID, MANIFEST_UNKNOWN, BLOB_UNKNOWN, REGISTRY_…, DIGEST_MISMATCH */
  push(request: PushRequest, options?: Abortable & { readonly onProgress?: (progress: PushProgress) => void }): Promise<PushSummary>
  /** Takes a blob into the store. @throws {LayerswarmError} SIZE_MISMATCH, DIGEST_MISMATCH, STORE_FULL, STORE_FAILED */
  put(content: { readonly digest: Digest; readonly size: number }, bytes: AsyncIterable<Uint8Array>, options?: Abortable): Promise<void>
  /** Content of a repository, fetched where it is not here. @throws {LayerswarmError} BLOB_UNKNOWN, MANIFEST_UNKNOWN, REGISTRY_… */
  content(ref: ContentRef, options?: Abortable): Promise<OpenContent>
}
