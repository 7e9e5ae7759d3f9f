import type { FileHandle } from 'node:fs/promises'
import type { Claim } from '@layerswarm/core/claims.ts'
import { digestOf, PIECE_HASH_BYTES, pieceHash } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { pieceLength, pieceStart } from '@layerswarm/core/piece-layout.ts'
import type { Vouch } from '../ports.ts'
import { AppendLog, writeFully } from './append-log.ts'
import { onDisk } from './disk-errors.ts'
import type { FilePool } from './file-pool.ts'
import type { FsBlob } from './fs-blob.ts'
import type { HashThread, WholeHash } from './hash-thread.ts'
import { claimRecord, discardRecord, headerRecord, pieceRecord } from './side-file.ts'
import { type StoreFiles, WRITE_FLAGS } from './store-files.ts'

/** Claims kept for each piece of a blob: two authors is the rule, a third settles a dispute; a flood is cut. */
const CLAIMS_PER_PIECE = 4
/**
 * Pieces up to this are hashed on the main loop. Measured per MiB: 0.50 ms there, against 0.21 ms of the loop and a
 * third more CPU for `crypto.subtle`, which copies. A larger piece would hold the loop up for 2 ms.
 */
const HASH_INLINE_BYTES = 1024 * 1024

export interface IngestDeps {
  readonly files: StoreFiles
  readonly pool: FilePool
  readonly hashes: HashThread
  /** Makes room on a disk that is full. @returns whether it could */
  readonly relieve: (bytes: number) => Promise<boolean>
}

async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes.byteLength <= HASH_INLINE_BYTES) return pieceHash(bytes)
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>))
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

/** The writing of one blob: pieces, the record of them beside the data, and the hash of the whole behind them. */
export class Ingest {
  readonly #deps: IngestDeps
  readonly #blob: FsBlob
  readonly #hashes: Uint8Array
  readonly #whole: WholeHash
  #log: AppendLog
  readonly #claims: Claim[] = []
  /** Their signatures. */
  readonly #claimed = new Set<string>()
  readonly #writes = new Map<number, Promise<Uint8Array>>()
  /** Work during which nothing may be written. */
  #exclusive: Promise<void> | undefined
  /** The bytes were compared with the whole digest when they were written. */
  #proven = false
  /** The whole is proven and on its way to its place: nothing may lie beside it any more. */
  #sealed = false

  private constructor(deps: IngestDeps, blob: FsBlob) {
    this.#deps = deps
    this.#blob = blob
    this.#hashes = new Uint8Array(blob.layout.pieces * PIECE_HASH_BYTES)
    this.#whole = deps.hashes.whole(blob.digest, deps.files.partial(blob.digest))
    this.#log = this.#logFrom(0)
  }

  /**
   * Takes up what an earlier process left of `blob`, each piece verified again, or starts anew.
   * @returns also how many recorded pieces were not on disk as recorded
   * @throws {LayerswarmError} STORE_FULL, STORE_FAILED
   */
  static async open(deps: IngestDeps, blob: FsBlob): Promise<{ ingest: Ingest; lost: number }> {
    const ingest = new Ingest(deps, blob)
    const lost = await onDisk(() => ingest.#takeUp())
    return { ingest, lost }
  }

  /** As {@link PartialBlob.write}. */
  async write(piece: number, bytes: Uint8Array, expected?: readonly Uint8Array[], vouch?: Vouch): Promise<Uint8Array | undefined> {
    const { layout, presence } = this.#blob
    if (!Number.isInteger(piece) || piece < 0 || piece >= layout.pieces) throw new RangeError(`there is no piece ${piece}`)
    while (!presence.have.has(piece)) {
      const before = this.#exclusive ?? this.#writes.get(piece)?.catch(() => {})
      if (before !== undefined) {
        await before
        continue
      }
      const work = this.#writeNew(piece, bytes, expected, vouch)
      this.#writes.set(piece, work)
      try {
        return await work
      } finally {
        this.#writes.delete(piece)
      }
    }
    return undefined
  }

  hashOf(piece: number): Uint8Array | undefined {
    return this.#blob.presence.have.has(piece) ? this.#hashes.slice(piece * PIECE_HASH_BYTES, (piece + 1) * PIECE_HASH_BYTES) : undefined
  }

  /** SHA-256 of all pieces in order; of use once all are there. */
  get map(): Uint8Array {
    return this.#hashes
  }

  claims(from: number): readonly Claim[] {
    return this.#claims.slice(from)
  }

  /** Keeps `claims` that are new. What does not fit the bound, or the disk, is dropped: they can be had from peers again. */
  addClaims(claims: readonly Claim[]): void {
    if (this.#sealed) return
    const bound = this.#blob.layout.pieces * CLAIMS_PER_PIECE
    for (const claim of claims) {
      if (this.#claims.length >= bound || !this.#keep(claim)) continue
      this.#log.note(claimRecord(claim))
    }
  }

  /** @returns whether it is new. */
  #keep(claim: Claim): boolean {
    const key = Buffer.from(claim.sig).toString('base64')
    if (this.#claimed.has(key)) return false
    this.#claimed.add(key)
    this.#claims.push(claim)
    return true
  }

  /** As {@link PartialBlob.commit}. */
  async commit(): Promise<void> {
    await this.#alone(async () => {
      const { layout, presence, digest } = this.#blob
      if (presence.complete) return
      if (!presence.have.complete) throw new Error('a blob is committed once all of its pieces are present')
      const fits = this.#proven || (await this.#whole.matches(layout.size))
      if (!fits) {
        const error = new LayerswarmError('DIGEST_MISMATCH', { detail: digest })
        presence.refute(error)
        throw error
      }
      await this.#promote()
      this.#claims.length = 0
      presence.finish()
    })
  }

  /** As {@link PartialBlob.discard}. */
  async discard(pieces?: Iterable<number>): Promise<void> {
    await this.#alone(async () => {
      const { layout, presence } = this.#blob
      if (presence.complete) throw new Error('a committed blob is deleted as a whole')
      const named = pieces === undefined ? undefined : [...pieces].filter((piece) => presence.have.has(piece))
      const forgotten = named ?? [...presence.have]
      presence.forget(forgotten)
      this.#proven = false
      await this.#whole.stop()
      if (forgotten.some((piece) => pieceStart(layout, piece) < this.#whole.hashed)) await this.#whole.reset()
      await this.#log.append(discardRecord(named))
    })
  }

  /** Ends the writing for now: what is under way is finished, what is open is closed. */
  async release(): Promise<void> {
    await this.#alone(async () => {
      await this.#whole.stop()
      await this.#whole.reset()
      await this.#log.flush()
      await this.#deps.pool.forget(this.#sideKey)
    })
  }

  async #promote(): Promise<void> {
    this.#sealed = true
    try {
      await this.#log.end()
      await this.#deps.pool.forget(this.#sideKey)
      await this.#blob.use(async (file) => {
        await file.datasync()
        await this.#deps.files.promote(this.#blob.digest)
      })
    } catch (error) {
      this.#sealed = false
      throw error
    }
  }

  async #writeNew(
    piece: number,
    bytes: Uint8Array,
    expected: readonly Uint8Array[] | undefined,
    vouch: Vouch | undefined
  ): Promise<Uint8Array> {
    const { layout, presence, digest } = this.#blob
    if (bytes.byteLength !== pieceLength(layout, piece)) {
      throw new LayerswarmError('PIECE_MISMATCH', { detail: `piece ${piece} has ${bytes.byteLength} bytes` })
    }
    const hash = await sha256(bytes)
    const only = layout.pieces === 1
    const good = only ? digestOf(bytes, digest) === digest : (expected?.some((one) => same(one, hash)) ?? true)
    if (!good) throw new LayerswarmError('PIECE_MISMATCH', { detail: `piece ${piece} of ${digest}` })
    const put = async (): Promise<void> => {
      await this.#blob.use((file) => writeFully(file, bytes, pieceStart(layout, piece)))
    }
    try {
      await put()
    } catch (error) {
      if (!isLayerswarmError(error, 'STORE_FULL') || !(await this.#deps.relieve(bytes.byteLength))) throw error
      await put()
    }
    this.#log.note(pieceRecord(piece, hash))
    this.#hashes.set(hash, piece * PIECE_HASH_BYTES)
    if (only) this.#proven = true
    const claim = await vouch?.(hash)
    if (claim !== undefined) this.addClaims([claim])
    presence.add(piece)
    this.#advance()
    return hash
  }

  #advance(): void {
    const { layout, presence } = this.#blob
    // A blob of one piece is hashed when it is written; hashing ahead pays from the second on.
    if (layout.pieces > 1) this.#whole.advance(Math.min(layout.size, pieceStart(layout, presence.have.firstMissing())))
  }

  async #takeUp(): Promise<number> {
    const { files, hashes } = this.#deps
    const { digest, layout, presence } = this.#blob
    const record = await files.readSide(digest)
    if (record === undefined || record.layout.size !== layout.size || record.layout.pieceSize !== layout.pieceSize) {
      await files.removePartial(digest)
      this.#log.note(headerRecord(digest, layout))
      if (layout.size === 0) this.#proven = digestOf(new Uint8Array(0), digest) === digest
      return 0
    }
    await this.#useSide((file) => file.truncate(record.end))
    // Its data may be gone altogether; it is then as empty as a file without the pieces.
    await this.#blob.use(async () => {})
    this.#log = this.#logFrom(record.end)
    for (const claim of record.claims) this.#keep(claim)
    const recorded = [...record.pieces.keys()].sort((a, b) => a - b)
    const found = recorded.length === 0 ? new Uint8Array(0) : await hashes.pieces(files.partial(digest), layout, recorded)
    recorded.forEach((piece, at) => {
      const hash = record.pieces.get(piece)
      const actual = found.subarray(at * PIECE_HASH_BYTES, (at + 1) * PIECE_HASH_BYTES)
      if (hash === undefined || !same(hash, actual)) return
      this.#hashes.set(hash, piece * PIECE_HASH_BYTES)
      presence.add(piece)
    })
    this.#advance()
    return recorded.length - presence.have.count
  }

  /** Runs `work` once all writes are done, and lets none begin before it ends. */
  async #alone(work: () => Promise<void>): Promise<void> {
    while (this.#exclusive !== undefined) await this.#exclusive
    const run = Promise.allSettled(this.#writes.values()).then(work)
    this.#exclusive = run
      .catch(() => {})
      .finally(() => {
        this.#exclusive = undefined
      })
    await run
  }

  get #sideKey(): string {
    return `${this.#blob.digest} side`
  }

  #useSide<T>(work: (file: FileHandle) => Promise<T>): Promise<T> {
    return onDisk(() => this.#deps.pool.use(this.#sideKey, this.#deps.files.side(this.#blob.digest), WRITE_FLAGS, work))
  }

  #logFrom(end: number): AppendLog {
    return new AppendLog((work) => this.#useSide(work), end)
  }
}
