/** Where bytes are kept. */

import type { HeldBlob } from '@layerswarm/core/api/images-api.ts'
import type { Claim } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { PieceLayout } from '@layerswarm/core/piece-layout.ts'
import type { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Abortable, ByteRange, ReadOptions } from './common.ts'

export interface BlobStat {
  readonly digest: Digest
  readonly size: number
  readonly state: 'complete' | 'partial'
  /** Bytes present and verified; the size for a complete blob. */
  readonly present: number
  /** When it was last read or written, ms since the epoch. */
  readonly usedAt: number
  /** Where it lies whole; the store alone where this is absent. */
  readonly places?: HeldBlob['places']
}

/** Reads a blob that is complete or still arriving. Only verified pieces are ever visible. */
export interface BlobReader extends AsyncDisposable {
  readonly digest: Digest
  readonly layout: PieceLayout
  /** The whole digest is proven. */
  readonly complete: boolean
  /** A copy of the set of pieces present now. */
  have(): PieceSet
  /**
   * One piece that is present; undefined when it is not. The bytes are the caller's.
   * @param into memory that they may be read into, where it is large enough
   */
  piece(piece: number, into?: Uint8Array): Promise<Uint8Array | undefined>
  /**
   * The bytes of `range` in order, in chunks of at most 1 MiB, waiting for pieces that have not landed. The last piece
   * of the blob is given out only once the whole digest is proven.
   * @throws {LayerswarmError} DIGEST_MISMATCH when the whole turned out false, STORE_FAILED, or why the fetch was given up.
   */
  read(range: ByteRange, options?: ReadOptions): AsyncIterable<Uint8Array>
  /** Pieces as they land from now on; ends when the blob is complete. */
  landed(options?: Abortable): AsyncIterable<readonly number[]>
  /** Claims kept beside a partial blob, in the order they came, from the `from`-th on; empty for a complete one. */
  claims(from?: number): readonly Claim[]
  /** SHA-256 of all pieces in order; undefined while the blob is not complete. */
  map(): Promise<Uint8Array | undefined>
}

/** Gives this host's claim on a piece, by the piece's SHA-256; undefined where it has none to give. */
export type Vouch = (hash: Uint8Array) => Promise<Claim | undefined>

/** The one writer of a blob that is being fetched. Disposing keeps what is there for a later `begin`. */
export interface PartialBlob extends BlobReader {
  /**
   * Verifies a piece, writes it and makes it visible. Without `expected` (bytes that came from the registry over a
   * verified connection) its hash is only recorded.
   * @param expected acceptable SHA-256 values: the proven one, or one per claim
   * @param vouch asked for this host's own claim once the hash is known; it is kept, and is visible before the piece is
   * @returns the piece's SHA-256, or undefined when it was already present
   * @throws {LayerswarmError} PIECE_MISMATCH, STORE_FULL, STORE_FAILED; nothing becomes visible then
   */
  write(piece: number, bytes: Uint8Array, expected?: readonly Uint8Array[], vouch?: Vouch): Promise<Uint8Array | undefined>
  /** Recorded SHA-256 of a present piece. */
  hashOf(piece: number): Uint8Array | undefined
  addClaims(claims: readonly Claim[]): void
  /**
   * To be called once every piece is present: proves the whole digest, moves the blob to its place and ends `landed`.
   * @throws {LayerswarmError} DIGEST_MISMATCH: nothing was committed, all pieces stay present until `discard`.
   */
  commit(): Promise<void>
  /** Forgets pieces (all, unless named), for example those that a liar vouched for. */
  discard(pieces?: Iterable<number>): Promise<void>
  /** Makes every waiting reader throw `error`. What is on disk stays. */
  fail(error: unknown): void
}

export interface HoldingChange {
  /** `started`: a blob has a writer, so `open` gives a reader of what lands; the others are of complete blobs. */
  readonly change: 'started' | 'added' | 'removed'
  readonly digest: Digest
  readonly size: number
}

/** Verified content by digest: the only place where sources and readers meet. */
export interface BlobStore extends AsyncDisposable {
  stat(digest: Digest): Promise<BlobStat | undefined>
  /** A complete blob, or one being fetched now; undefined otherwise. An open reader protects the blob from eviction. */
  open(digest: Digest): Promise<BlobReader | undefined>
  /**
   * Starts or resumes a partial blob; what an earlier process left is there again, re-verified.
   * @throws {LayerswarmError} STORE_FULL, STORE_FAILED, or an Error when the blob is complete or has a writer already.
   */
  begin(digest: Digest, layout: PieceLayout): Promise<PartialBlob>
  /** Removes a blob that nobody reads or writes. @returns whether it did. */
  delete(digest: Digest): Promise<boolean>
  list(): AsyncIterable<BlobStat>
  /**
   * Reads a complete blob again and proves its digest anew. One that fails is removed at once, whoever reads it.
   * @param options.onProgress told the bytes hashed so far
   * @returns whether it is as it should be; undefined where there is no such complete blob
   * @throws {LayerswarmError} STORE_FAILED when that cannot be told
   */
  verify(digest: Digest, options?: Abortable & { readonly onProgress?: (bytes: number) => void }): Promise<boolean | undefined>
  /** What begins to arrive, is committed and is removed from now on. */
  changes(options?: Abortable): AsyncIterable<HoldingChange>
}

/** Facts about content: which repository a digest was reached through, and what a tag last pointed to. Survives restarts. */
export interface ContentIndex {
  /** Records that `descriptors` may be asked for in `scope` (`registry/repository`), since a manifest there names them. */
  link(scope: string, descriptors: readonly Descriptor[]): Promise<void>
  linked(scope: string, digest: Digest): Promise<Descriptor | undefined>
  /** The scopes through which `digest` was reached, with its descriptor. */
  links(digest: Digest): Promise<readonly { scope: string; descriptor: Descriptor }[]>
  setTag(scope: string, tag: string, descriptor: Descriptor): Promise<void>
  tag(scope: string, tag: string): Promise<{ descriptor: Descriptor; at: number } | undefined>
  /** Every tag there is, by scope, then tag. */
  tags(): AsyncIterable<{ scope: string; tag: string; descriptor: Descriptor }>
  /** Every link there is, those of one scope together, in the same order of scopes as {@link tags}. */
  allLinks(): AsyncIterable<{ scope: string; descriptor: Descriptor }>
}

/** Bytes on their way in, whose digest and size show only at their end. Disposing forgets what was not kept. */
export interface IncomingBlob extends AsyncDisposable {
  /** Bytes appended. */
  readonly size: number
  /** One call at a time. @throws {LayerswarmError} STORE_FULL, STORE_FAILED, UPLOAD_UNKNOWN once it is kept: nothing was appended then */
  append(bytes: Uint8Array): Promise<void>
  /** What was appended, in chunks of at most 1 MiB. @throws {LayerswarmError} STORE_FAILED */
  read(range: ByteRange): AsyncIterable<Uint8Array>
  /** Whether everything appended so far has the digest. @throws {LayerswarmError} STORE_FAILED */
  proves(digest: Digest, options?: Abortable): Promise<boolean>
  /**
   * Makes a blob of it, which it must have proved to be, with nothing appended since.
   * @throws {LayerswarmError} STORE_FULL, STORE_FAILED
   */
  keep(digest: Digest): Promise<void>
}

/** Where blobs arrive that nobody has announced. */
export interface BlobIntake {
  /** @throws {LayerswarmError} STORE_FULL, STORE_FAILED */
  receive(): Promise<IncomingBlob>
}
