/** Every seam inside the agent. Folders import this file, core and themselves; only agent.ts knows who implements what. */
import type { CheckLine, CheckRequest, GcReply, HeldBlob, ImagesLine } from '@layerswarm/core/api/images-api.ts'
import type { PushProgress, PushRequest, PushSummary } from '@layerswarm/core/api/push-api.ts'
import type { Claim, Lease } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { Descriptor, Manifest, Platform } from '@layerswarm/core/image/manifest.ts'
import type { PieceLayout, PieceRun } from '@layerswarm/core/piece-layout.ts'
import type { PieceSet } from '@layerswarm/core/piece-set.ts'
import type {
  Gateway,
  Holding,
  PeerAddress,
  PieceMap,
  PlannedBlob,
  SeedOrder,
  SeedReport
} from '@layerswarm/core/wire/directory-protocol.ts'

/** Everything that waits can be told to stop: it then throws the signal's reason. */
export interface Abortable {
  readonly signal?: AbortSignal
}

/** How bytes are read. */
export interface ReadOptions extends Abortable {
  /** Memory to read into, so that none is allocated for each chunk: a chunk is then valid until the next is asked for. */
  readonly into?: Uint8Array
}

/** Content as a client names it: bytes by digest, reached through a repository of a registry. */
export interface ContentRef {
  /** The registry as asked for, for example `docker.io` or `registry.example.com:5000`. */
  readonly registry: string
  readonly repository: string
  readonly digest: Digest
  readonly kind: 'blob' | 'manifest'
}

/** A tag of a repository: the only mutable name there is. */
export interface TagRef {
  readonly registry: string
  readonly repository: string
  readonly tag: string
}

/** Bytes `start … end - 1`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

// --- store ---------------------------------------------------------------------------------------------------------

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
  /** One call at a time. @throws {LayerswarmError} STORE_FULL, STORE_FAILED: nothing was appended then */
  append(bytes: Uint8Array): Promise<void>
  /** What was appended, in chunks of at most 1 MiB. @throws {LayerswarmError} STORE_FAILED */
  read(range: ByteRange): AsyncIterable<Uint8Array>
  /** Whether everything appended so far has the digest. @throws {LayerswarmError} STORE_FAILED */
  proves(digest: Digest, options?: Abortable): Promise<boolean>
  /** Makes a blob of it, which it must have proved to be. @throws {LayerswarmError} STORE_FULL, STORE_FAILED */
  keep(digest: Digest): Promise<void>
}

/** Where blobs arrive that nobody has announced. */
export interface BlobIntake {
  /** @throws {LayerswarmError} STORE_FULL, STORE_FAILED */
  receive(): Promise<IncomingBlob>
}

// --- content of other programs ---------------------------------------------------------------------------------------

/** A blob that another program keeps on this host as a file, which may change or go at any time. */
export interface ForeignFile {
  readonly digest: Digest
  readonly size: number
  readonly path: string
  /** Its owner keeps it for an image; otherwise it may go as soon as a pull is over. */
  readonly kept: boolean
}

/** An image as another program on this host knows it. */
export interface ForeignImage {
  /** `registry/repository`. */
  readonly scope: string
  /** Absent for an image that is named by its digest. */
  readonly tag: string | undefined
  readonly root: Descriptor
}

export interface ForeignState {
  readonly files: ReadonlyMap<Digest, ForeignFile>
  readonly images: readonly ForeignImage[]
  /** Files that may have been written to since the last state. */
  readonly touched?: ReadonlySet<Digest>
}

/** Another program's content: which files there are, by its word. Whether they are what they should be is not its matter. */
export interface ForeignContent {
  /** What there is, and again after each change: always all of it. Waits while the other program cannot be asked. */
  states(options?: Abortable): AsyncIterable<ForeignState>
}

/** One blob or manifest on its way into another program's store. */
export interface RuntimeContent {
  readonly digest: Digest
  readonly size: number
  /** What it says, if it is a manifest. */
  readonly manifest: Manifest | undefined
  read(options?: Abortable): AsyncIterable<Uint8Array>
}

export interface RuntimeImage {
  /** containerd's own: images of one are unknown in another. */
  readonly namespace: string
  /** The full reference that it is to be known by. */
  readonly name: string
  readonly root: Descriptor
  /** All of it, what is named before what names it. */
  readonly content: readonly RuntimeContent[]
}

/** A container runtime's own store of images. */
export interface RuntimeImages {
  /**
   * Makes an image known there, with its content as far as it is lacking.
   * @returns what it lacked
   * @throws {LayerswarmError} CONTAINERD_FAILED, what reading throws, the signal's reason
   */
  put(image: RuntimeImage, options?: Abortable): Promise<{ readonly blobs: number; readonly bytes: number }>
}

// --- sources -------------------------------------------------------------------------------------------------------

export interface Availability {
  /** Pieces that became available; the first answer lists all. */
  readonly pieces: readonly number[] | PieceSet
  /** Uploads that the source has active and queued. */
  readonly load: number
  readonly claims?: readonly Claim[]
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

// --- directory -----------------------------------------------------------------------------------------------------

export interface PlanRequest {
  readonly scope: string
  readonly blobs: readonly { readonly digest: Digest; readonly size?: number }[]
  /** The registry granted this host's own request for this repository: it may hold leases. */
  readonly origin: boolean
  /** False: only knowledge is asked for, no lease. */
  readonly want: boolean
  readonly rate?: number
}

export interface Plan {
  readonly blobs: readonly PlannedBlob[]
  readonly peers: readonly PeerAddress[]
}

export type DirectoryEvent =
  | { readonly type: 'up' }
  | { readonly type: 'down' }
  | { readonly type: 'leases'; readonly blob: Digest; readonly grant: readonly Lease[]; readonly revoke: readonly number[] }
  | { readonly type: 'peers'; readonly blob: Digest; readonly peers: readonly PeerAddress[]; readonly gateway?: Gateway }
  | { readonly type: 'map'; readonly blob: Digest; readonly size: number; readonly map: PieceMap }
  | { readonly type: 'wantMap'; readonly blob: Digest }
  /** An image is to be fetched ahead of use, or need not be any more. */
  | { readonly type: 'seed'; readonly order: SeedOrder }
  | { readonly type: 'unseed'; readonly id: string }

/** What an agent tells of a blob that it fetches, or of a seed. Dropped silently while there is no tracker. */
export type DirectoryNote =
  | SeedReport
  | {
      readonly t: 'report'
      readonly blob: Digest
      /** Pieces fetched from the registry since the last report. */
      readonly got: readonly number[]
      /** Pieces of those that a peer has announced since the last report. */
      readonly spread: readonly number[]
      /** Bytes that the registry sent for this blob since the last report, with or without a lease. */
      readonly bytes: number
      /** The registry ignores Range: it streams the blob to this host from byte 0. */
      readonly whole?: boolean
    }
  | {
      readonly t: 'release'
      readonly blob: Digest
      readonly runs: readonly number[]
      readonly reason: 'denied' | 'busy' | 'failed' | 'slow' | 'stopping'
      readonly bar: boolean
    }
  | { readonly t: 'peers'; readonly blob: Digest; readonly live: number }
  | { readonly t: 'orphans'; readonly blob: Digest; readonly pieces: readonly number[] }
  | { readonly t: 'partial'; readonly blob: Digest; readonly size: number; readonly bits: Uint8Array; readonly leases: readonly Lease[] }
  | { readonly t: 'done'; readonly blob: Digest; readonly size: number; readonly root: Uint8Array }
  | { readonly t: 'map'; readonly blob: Digest; readonly size: number; readonly hashes: Uint8Array }
  /** All pieces fit what was vouched for, and the whole does not fit its digest. */
  | { readonly t: 'dispute'; readonly blob: Digest }
  /** What others signed, and the pieces with which this host has proven the digest contradict; one claim for each author. */
  | { readonly t: 'evidence'; readonly blob: Digest; readonly claims: readonly Claim[] }
  | { readonly t: 'cancel'; readonly blob: Digest }

/** Who holds what and who shall fetch what. Advice: every caller goes on without it. */
export interface PeerDirectory {
  readonly connected: boolean
  /** Peer ids whose signature on a lease counts. */
  readonly trusted: ReadonlySet<string>
  /** @throws {LayerswarmError} TRACKER_UNREACHABLE, at once while there is no connection */
  plan(want: PlanRequest, options?: Abortable): Promise<Plan>
  /** Complete blobs that are held now and no longer. */
  announce(changes: { readonly add: readonly Holding[]; readonly drop: readonly Digest[] }): void
  tell(note: DirectoryNote): void
  events(options?: Abortable): AsyncIterable<DirectoryEvent>
}

// --- content service -----------------------------------------------------------------------------------------------

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

// --- images --------------------------------------------------------------------------------------------------------

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
  /** Evicts by policy now. @throws {LayerswarmError} STORE_FAILED */
  gc(): Promise<GcReply>
  /** @throws {LayerswarmError} IMAGE_UNKNOWN, REFERENCE_INVALID, MANIFEST_UNKNOWN, BLOB_UNKNOWN, REGISTRY_…, DIGEST_MISMATCH */
  push(request: PushRequest, options?: Abortable & { readonly onProgress?: (progress: PushProgress) => void }): Promise<PushSummary>
  /** Takes a blob into the store. @throws {LayerswarmError} SIZE_MISMATCH, DIGEST_MISMATCH, STORE_FULL, STORE_FAILED */
  put(content: { readonly digest: Digest; readonly size: number }, bytes: AsyncIterable<Uint8Array>, options?: Abortable): Promise<void>
  /** Content of a repository, fetched where it is not here. @throws {LayerswarmError} BLOB_UNKNOWN, MANIFEST_UNKNOWN, REGISTRY_… */
  content(ref: ContentRef, options?: Abortable): Promise<OpenContent>
}
