import type { Abortable, BlobReader, BlobStat, BlobStore, ByteRange, HoldingChange, PartialBlob, Vouch } from '@layerswarm/agent/ports.ts'
import { ChangeFeed } from '@layerswarm/agent/store/change-feed.ts'
import { Presence } from '@layerswarm/agent/store/presence.ts'
import type { Claim } from '@layerswarm/core/claims.ts'
import { type Digest, digestOf, PIECE_HASH_BYTES, pieceHash } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type PieceLayout, pieceLength, pieceStart } from '@layerswarm/core/piece-layout.ts'
import type { PieceSet } from '@layerswarm/core/piece-set.ts'

const READ_BYTES = 1024 * 1024

interface Held {
  readonly digest: Digest
  readonly presence: Presence
  readonly bytes: Uint8Array
  readonly hashes: Uint8Array
  claims: Claim[]
  readers: number
  writing: boolean
  usedAt: number
}

/** A whole blob store in memory, for tests that need one but not its files. It never evicts. */
export class MemoryBlobStore implements BlobStore {
  readonly #blobs = new Map<Digest, Held>()
  readonly #changes = new ChangeFeed()
  readonly #maxBytes: number
  #closed = false

  /** @param options.maxBytes what `begin` refuses to go beyond, with STORE_FULL */
  constructor(options: { maxBytes?: number } = {}) {
    this.#maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY
  }

  /** Puts a whole blob in. */
  async add(digest: Digest, layout: PieceLayout, bytes: Uint8Array): Promise<void> {
    await using partial = await this.begin(digest, layout)
    for (let piece = 0; piece < layout.pieces; piece++) {
      const start = pieceStart(layout, piece)
      await partial.write(piece, bytes.subarray(start, start + pieceLength(layout, piece)))
    }
    await partial.commit()
  }

  async stat(digest: Digest): Promise<BlobStat | undefined> {
    const held = this.#blobs.get(digest)
    return held === undefined ? undefined : statOf(held)
  }

  async open(digest: Digest): Promise<BlobReader | undefined> {
    this.#check()
    const held = this.#blobs.get(digest)
    if (held === undefined || !(held.writing || held.presence.complete)) return undefined
    held.readers++
    held.usedAt = Date.now()
    return new MemoryReader(held, () => {
      held.readers--
    })
  }

  async begin(digest: Digest, layout: PieceLayout): Promise<PartialBlob> {
    this.#check()
    const before = this.#blobs.get(digest)
    if (before?.presence.complete) throw new Error(`${digest} is complete already`)
    if (before?.writing) throw new Error(`${digest} has a writer already`)
    const others = [...this.#blobs.values()].filter((held) => held !== before)
    const used = others.reduce((sum, { presence }) => sum + presence.layout.size, 0)
    if (used + layout.size > this.#maxBytes) throw new LayerswarmError('STORE_FULL')
    const held = before?.presence.layout.size === layout.size ? before : emptyOf(digest, layout)
    held.writing = true
    held.presence.recover()
    this.#blobs.set(digest, held)
    this.#changes.publish({ change: 'started', digest, size: layout.size })
    return new MemoryWriter(held, (change) => this.#changes.publish(change))
  }

  async delete(digest: Digest): Promise<boolean> {
    this.#check()
    const held = this.#blobs.get(digest)
    if (held === undefined || held.readers > 0 || held.writing) return false
    this.#blobs.delete(digest)
    if (held.presence.complete) this.#changes.publish({ change: 'removed', digest, size: held.presence.layout.size })
    return true
  }

  async *list(): AsyncGenerator<BlobStat> {
    for (const held of [...this.#blobs.values()]) yield statOf(held)
  }

  async verify(digest: Digest): Promise<boolean | undefined> {
    this.#check()
    const held = this.#blobs.get(digest)
    if (held?.presence.complete !== true) return undefined
    if (digestOf(held.bytes, digest) === digest) return true
    this.#blobs.delete(digest)
    held.presence.refute(new LayerswarmError('DIGEST_MISMATCH', { detail: digest }))
    this.#changes.publish({ change: 'removed', digest, size: held.presence.layout.size })
    return false
  }

  changes(options: Abortable = {}): AsyncIterable<HoldingChange> {
    return this.#changes.subscribe(options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    const closed = new LayerswarmError('STORE_FAILED', { detail: 'the store is closed' })
    for (const { presence } of this.#blobs.values()) presence.fail(closed)
    this.#changes.close()
  }

  #check(): void {
    if (this.#closed) throw new LayerswarmError('STORE_FAILED', { detail: 'the store is closed' })
  }
}

class MemoryReader implements BlobReader {
  protected readonly held: Held
  readonly #release: () => void
  protected disposed = false

  constructor(held: Held, release: () => void) {
    this.held = held
    this.#release = release
  }

  get digest(): Digest {
    return this.held.digest
  }

  get layout(): PieceLayout {
    return this.held.presence.layout
  }

  get complete(): boolean {
    return this.held.presence.complete
  }

  have(): PieceSet {
    return this.held.presence.have.clone()
  }

  async piece(piece: number): Promise<Uint8Array | undefined> {
    this.check()
    if (!this.held.presence.offers(piece)) return undefined
    const start = pieceStart(this.layout, piece)
    return this.held.bytes.slice(start, start + pieceLength(this.layout, piece))
  }

  async *read(range: ByteRange, options: Abortable = {}): AsyncGenerator<Uint8Array> {
    this.check()
    const { presence, bytes } = this.held
    for await (const { start, end } of presence.readable(range.start, Math.min(range.end, this.layout.size), READ_BYTES, options)) {
      yield bytes.slice(start, end)
    }
  }

  landed(options: Abortable = {}): AsyncIterable<readonly number[]> {
    return this.held.presence.landed(options)
  }

  claims(from = 0): readonly Claim[] {
    return this.held.claims.slice(from)
  }

  async map(): Promise<Uint8Array | undefined> {
    return this.complete ? this.held.hashes.slice() : undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.disposed) return
    this.disposed = true
    this.#release()
  }

  protected check(): void {
    if (this.disposed) throw new Error('a disposed handle of a blob was used')
  }
}

class MemoryWriter extends MemoryReader implements PartialBlob {
  readonly #tell: (change: HoldingChange) => void

  constructor(held: Held, tell: (change: HoldingChange) => void) {
    super(held, () => {
      held.writing = false
      held.presence.fail(new LayerswarmError('STALLED', { detail: 'the fetch was given up' }))
    })
    this.#tell = tell
  }

  async write(piece: number, bytes: Uint8Array, expected?: readonly Uint8Array[], vouch?: Vouch): Promise<Uint8Array | undefined> {
    this.check()
    const { presence, digest, hashes } = this.held
    const { layout } = this
    if (!Number.isInteger(piece) || piece < 0 || piece >= layout.pieces) throw new RangeError(`there is no piece ${piece}`)
    if (presence.have.has(piece)) return undefined
    const hash = pieceHash(bytes)
    const good =
      bytes.byteLength === pieceLength(layout, piece) &&
      (layout.pieces === 1 ? digestOf(bytes, digest) === digest : (expected?.some((one) => Buffer.compare(one, hash) === 0) ?? true))
    if (!good) throw new LayerswarmError('PIECE_MISMATCH', { detail: `piece ${piece} of ${digest}` })
    const claim = await vouch?.(hash)
    // Another write of the same piece may have won meanwhile.
    if (presence.have.has(piece)) return undefined
    if (claim !== undefined) this.addClaims([claim])
    this.held.bytes.set(bytes, pieceStart(layout, piece))
    hashes.set(hash, piece * PIECE_HASH_BYTES)
    this.held.usedAt = Date.now()
    presence.add(piece)
    return hash
  }

  hashOf(piece: number): Uint8Array | undefined {
    const at = piece * PIECE_HASH_BYTES
    return this.held.presence.have.has(piece) ? this.held.hashes.slice(at, at + PIECE_HASH_BYTES) : undefined
  }

  addClaims(claims: readonly Claim[]): void {
    const known = this.held.claims
    for (const claim of claims) if (!known.some(({ sig }) => Buffer.compare(sig, claim.sig) === 0)) known.push(claim)
  }

  async commit(): Promise<void> {
    this.check()
    const { presence, digest, bytes } = this.held
    if (presence.complete) return
    if (!presence.have.complete) throw new Error('a blob is committed once all of its pieces are present')
    if (digestOf(bytes, digest) !== digest) {
      const error = new LayerswarmError('DIGEST_MISMATCH', { detail: digest })
      presence.refute(error)
      throw error
    }
    this.held.claims = []
    presence.finish()
    this.#tell({ change: 'added', digest, size: bytes.byteLength })
  }

  async discard(pieces?: Iterable<number>): Promise<void> {
    this.check()
    if (this.complete) throw new Error('a committed blob is deleted as a whole')
    this.held.presence.forget(pieces === undefined ? [...this.held.presence.have] : pieces)
  }

  fail(error: unknown): void {
    if (!this.disposed) this.held.presence.fail(error)
  }
}

function emptyOf(digest: Digest, layout: PieceLayout): Held {
  return {
    digest,
    presence: new Presence(layout, { complete: false }),
    bytes: new Uint8Array(layout.size),
    hashes: new Uint8Array(layout.pieces * PIECE_HASH_BYTES),
    claims: [],
    readers: 0,
    writing: false,
    usedAt: Date.now()
  }
}

function statOf({ digest, presence, usedAt }: Held): BlobStat {
  const { size } = presence.layout
  return { digest, size, state: presence.complete ? 'complete' : 'partial', present: presence.bytes, usedAt }
}
