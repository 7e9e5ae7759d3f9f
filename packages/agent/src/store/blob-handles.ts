import type { Claim } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { PieceLayout } from '@layerswarm/core/piece-layout.ts'
import type { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Abortable, BlobReader, ByteRange, PartialBlob, ReadOptions, Vouch } from '../ports.ts'
import type { FsBlob } from './fs-blob.ts'
import type { Ingest } from './ingest.ts'

/** Largest chunk that `read` gives out: larger ones gain nothing, smaller ones cost a trip to the thread pool each. */
const READ_BYTES = 1024 * 1024
const DISPOSED = 'a disposed handle of a blob was used'

export interface ReaderDeps {
  readonly use: {
    readonly blob: FsBlob
    /** Absent for a blob that was complete when it was opened. */
    readonly ingest: Ingest | undefined
  }
  readonly map: () => Promise<Uint8Array | undefined>
  /** To be called once, when the handle is disposed. */
  readonly release: () => Promise<void>
}

export class FsBlobReader implements BlobReader {
  readonly #deps: ReaderDeps
  #released: Promise<void> | undefined

  constructor(deps: ReaderDeps) {
    this.#deps = deps
  }

  get digest(): Digest {
    return this.#deps.use.blob.digest
  }

  get layout(): PieceLayout {
    return this.#deps.use.blob.layout
  }

  get complete(): boolean {
    return this.#deps.use.blob.presence.complete
  }

  have(): PieceSet {
    return this.#deps.use.blob.presence.have.clone()
  }

  async piece(piece: number, into?: Uint8Array): Promise<Uint8Array | undefined> {
    if (this.disposed) throw new Error(DISPOSED)
    return await this.#deps.use.blob.piece(piece, into)
  }

  async *read(range: ByteRange, options: ReadOptions = {}): AsyncGenerator<Uint8Array> {
    if (this.disposed) throw new Error(DISPOSED)
    const { blob } = this.#deps.use
    const end = Math.min(range.end, blob.layout.size)
    for await (const part of blob.presence.readable(range.start, end, READ_BYTES, options)) {
      yield await blob.bytes(part.start, part.end, options.into)
    }
  }

  landed(options: Abortable = {}): AsyncIterable<readonly number[]> {
    return this.#deps.use.blob.presence.landed(options)
  }

  claims(from = 0): readonly Claim[] {
    return this.#deps.use.ingest?.claims(from) ?? []
  }

  async map(): Promise<Uint8Array | undefined> {
    return await this.#deps.map()
  }

  /** It may not be used any more. */
  get disposed(): boolean {
    return this.#released !== undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#released ??= this.#deps.release()
    await this.#released
  }
}

export interface WriterDeps extends ReaderDeps {
  readonly ingest: Ingest
  readonly written: () => void
  readonly commit: () => Promise<void>
}

export class FsPartialBlob extends FsBlobReader implements PartialBlob {
  readonly #deps: WriterDeps

  constructor(deps: WriterDeps) {
    super(deps)
    this.#deps = deps
  }

  async write(piece: number, bytes: Uint8Array, expected?: readonly Uint8Array[], vouch?: Vouch): Promise<Uint8Array | undefined> {
    const hash = await this.#writer.write(piece, bytes, expected, vouch)
    this.#deps.written()
    return hash
  }

  hashOf(piece: number): Uint8Array | undefined {
    return this.#deps.ingest.hashOf(piece)
  }

  addClaims(claims: readonly Claim[]): void {
    this.#writer.addClaims(claims)
  }

  async commit(): Promise<void> {
    if (this.disposed) throw new Error(DISPOSED)
    await this.#deps.commit()
  }

  async discard(pieces?: Iterable<number>): Promise<void> {
    await this.#writer.discard(pieces)
    this.#deps.written()
  }

  fail(error: unknown): void {
    if (!this.disposed) this.#deps.use.blob.presence.fail(error)
  }

  /** There may be another writer by now. */
  get #writer(): Ingest {
    if (this.disposed) throw new Error(DISPOSED)
    return this.#deps.ingest
  }
}
