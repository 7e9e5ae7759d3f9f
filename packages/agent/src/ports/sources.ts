/** Where bytes come from: peers and registries; and where pushed ones go. */

import type { Digest } from '@layerswarm/core/digest.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { PieceLayout, PieceRun } from '@layerswarm/core/piece-layout.ts'
import type { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import type { Abortable, ByteRange, ContentRef, TagRef } from './common.ts'

export interface Availability {
  /** Pieces that became available; the first answer lists all. */
  readonly pieces: readonly number[] | PieceSet
  /** Uploads that the source has active and queued. */
  readonly load: number
  /** Encoded, as they came. */
  readonly claims?: readonly Uint8Array[]
  /** The source's own word on all pieces. */
  readonly map?: Uint8Array
  /** The source holds nothing of the blob any more. */
  readonly gone?: boolean
}

export interface FetchedPiece {
  readonly piece: number
  /** Unverified. Valid until the next piece is asked for: the source may reuse the memory. */
  readonly bytes: Uint8Array
}

/** How fast a host has got what it fetches: the slowest is served first. */
export interface Faring {
  /** Bytes since it began to fetch. */
  readonly received: number
  /** Whole milliseconds since then. */
  readonly elapsed: number
}

export interface FetchOptions extends Abortable {
  /** By default the asker has just begun. */
  readonly faring?: Faring
  /** Whose share of a limit the bytes take: one for all blobs of an image. By default each blob has its own. */
  readonly pull?: string
  /** Told bytes of a piece as they come: it may take long, and is under way. */
  readonly onProgress?: (bytes: number) => void
}

/** One blob at one place it can be had from. */
export interface PieceSource {
  /** A peer id, or `registry`. */
  readonly id: string
  readonly kind: 'peer' | 'registry'
  available(options?: Abortable): AsyncIterable<Availability>
  /**
   * The pieces of `run`, in order. A source that cannot seek (a registry that ignores Range) yields all pieces from 0.
   * @throws {LayerswarmError} PEER_GONE (no blame), PEER_UNREACHABLE, PEER_PROTOCOL, REGISTRY_…, NOT_FOUND, SIZE_MISMATCH, STALLED
   */
  fetch(run: PieceRun, options?: FetchOptions): AsyncIterable<FetchedPiece>
  /** Takes back what was asked for a piece, where there may be a wait: unless it has begun to come, its fetch ends with STALLED. */
  withdraw?(piece: number): void
}

export type PeerEvent =
  | { readonly type: 'up'; readonly peer: string }
  | { readonly type: 'down'; readonly peer: string }
  /** A peer observes a blob here, so it wants or has it: a neighbour for that blob. */
  | { readonly type: 'watched'; readonly peer: string; readonly blob: Digest; readonly size: number }

/** The other agents, over libp2p. */
export interface PeerNetwork {
  readonly id: string
  /** @throws {LayerswarmError} PEER_UNREACHABLE, PEER_VERSION */
  connect(peer: PeerAddress, options?: Abortable): Promise<void>
  connected(): readonly string[]
  source(peer: string, blob: Digest, layout: PieceLayout, options?: { readonly wantMap?: boolean }): PieceSource
  /** Closes the connection and refuses the host until this process ends. */
  ban(peer: string, reason: string): void
  events(options?: Abortable): AsyncIterable<PeerEvent>
}

export interface UploadRequest {
  readonly peer: string
  readonly blob: Digest
  readonly piece: number
  /** Bytes a millisecond that the requester has received since it began to fetch, the wait of this request included. */
  readonly rate: number
  /** Times this host has served this piece of this blob. */
  readonly served: number
}

/** Which waiting request is served next: an index into `waiting` (in order of arrival, never empty). */
export type UploadPolicy = (waiting: readonly UploadRequest[]) => number

export interface RegistryContent {
  /** Bytes of the whole content, however much of it `body` carries. */
  readonly size: number
  readonly mediaType: string
  /** What `body` carries; the whole when the registry ignored the range. */
  readonly range: ByteRange
  readonly body: AsyncIterable<Uint8Array>
}

export interface RegistryReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** The registries that configuration allows. */
export interface RegistryClient {
  /**
   * Content by digest, unverified. Its body holds a connection until it is read to its end, left, or the signal fires.
   * @param range for blobs only, never open-ended
   * @throws {LayerswarmError} NOT_FOUND, REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_FAILED, REGISTRY_BUSY,
   *   REGISTRY_NOT_ALLOWED, NAME_INVALID, SIZE_MISMATCH (the blob ends before the range does)
   */
  content(ref: ContentRef, range?: ByteRange, options?: Abortable): Promise<RegistryContent>
  /** A HEAD request: what a tag points to, or size and type of content by digest. Errors as `content`. */
  resolve(ref: TagRef | ContentRef, options?: Abortable): Promise<Descriptor>
  /** Small documents that are passed on as they are (`tags/list?n=…`, `referrers/<digest>`), at most 4 MiB. Errors as `content`. */
  document(registry: string, repository: string, path: string, options?: Abortable): Promise<RegistryReply>
  /** Whether `registry` may be reached. */
  allows(registry: string): boolean
}

/** How a registry came by a blob: it had it, another of its repositories did, or it was sent. */
export type Uploaded = 'held' | 'mounted' | 'sent'

export interface UploadOptions extends Abortable {
  /** Another repository of the same registry that may have it: then nothing needs to be sent. */
  readonly mountFrom?: string
  /** Awaited once it is known that the blob has to be sent, before any of it is asked for. */
  readonly prepare?: (() => Promise<void>) | undefined
  /** Told the bytes that were sent so far; fewer than before when an upload is taken up again after a break. */
  readonly onSent?: (bytes: number) => void
}

/** The bytes of a blob from an offset on: asked for again when an upload breaks. */
export type ContentFrom = (from: number) => AsyncIterable<Uint8Array>

/** A blob on its way to a registry, opened before its digest and its size need be known. One call at a time. */
export interface RegistryUpload {
  /**
   * Sends what `content` has beyond what was sent, until it ends, and resolves once the registry has it.
   * @param options.size where it ends, if that is known
   * @throws {LayerswarmError} REGISTRY_…, and what `content` throws; it can be called again then
   */
  append(content: ContentFrom, options?: Abortable & { readonly size?: number | undefined }): Promise<void>
  /**
   * Sends what is left of a blob and ends the upload.
   * @param options.onSent told the bytes that were sent so far
   * @throws {LayerswarmError} REGISTRY_…, DIGEST_MISMATCH, and what `content` throws; it can be called again then
   */
  finish(
    blob: { readonly digest: Digest; readonly size: number },
    content: ContentFrom,
    options?: Pick<UploadOptions, 'signal' | 'onSent'>
  ): Promise<void>
  /** Has the registry forget it, as far as it listens. Never throws. */
  cancel(): Promise<void>
}

/** Content that registries are given, as far as configuration allows them. */
export interface RegistryUploads {
  /**
   * Gives a repository a blob that it lacks.
   * @throws {LayerswarmError} REGISTRY_…, DIGEST_MISMATCH, NAME_INVALID, and what `content` throws
   */
  blob(ref: ContentRef, size: number, content: ContentFrom, options?: UploadOptions): Promise<Uploaded>
  /**
   * Opens an upload, whatever it will carry.
   * @param options.mount a blob that is all there is to upload, and another repository of the registry that may have it
   * @returns undefined when the registry has mounted that blob
   * @throws {LayerswarmError} REGISTRY_…, NAME_INVALID
   */
  open(
    repository: { readonly registry: string; readonly repository: string },
    options?: Abortable & { readonly mount?: { readonly digest: Digest; readonly from: string } | undefined }
  ): Promise<RegistryUpload | undefined>
  /**
   * Gives a repository a manifest, under its digest or a tag.
   * @returns `subject`: what the registry says that it lists the manifest as a referrer of
   * @throws {LayerswarmError} BLOB_UNKNOWN when the registry lacks what it names; REGISTRY_…, DIGEST_MISMATCH, NAME_INVALID
   */
  manifest(
    ref: ContentRef | TagRef,
    content: { readonly bytes: Uint8Array; readonly mediaType: string },
    options?: Abortable
  ): Promise<{ readonly subject?: string }>
}
