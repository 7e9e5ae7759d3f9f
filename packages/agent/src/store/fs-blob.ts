import type { FileHandle } from 'node:fs/promises'
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type PieceLayout, pieceLength, pieceStart } from '@layerswarm/core/piece-layout.ts'
import { errnoOf, onDisk } from './disk-errors.ts'
import type { FilePool } from './file-pool.ts'
import { Presence } from './presence.ts'
import { READ_FLAGS, type StoreFiles, WRITE_FLAGS } from './store-files.ts'

export interface FsBlobDeps {
  readonly files: Pick<StoreFiles, 'blob' | 'partial'>
  readonly pool: Pick<FilePool, 'use'>
}

/** One blob in use, complete or being written: its bytes on disk, shared by its readers and its writer. */
export class FsBlob {
  readonly digest: Digest
  readonly presence: Presence
  readonly #deps: FsBlobDeps

  constructor(deps: FsBlobDeps, digest: Digest, layout: PieceLayout, options: { complete: boolean }) {
    this.#deps = deps
    this.digest = digest
    this.presence = new Presence(layout, options)
  }

  get layout(): PieceLayout {
    return this.presence.layout
  }

  get path(): string {
    return this.presence.complete ? this.#deps.files.blob(this.digest) : this.#deps.files.partial(this.digest)
  }

  /**
   * Lends the data file. It is one file from its first byte to its eviction: the move on commit happens while it is lent.
   * @throws {LayerswarmError} STORE_FULL, STORE_FAILED
   */
  async use<T>(work: (file: FileHandle) => Promise<T>): Promise<T> {
    const flags = this.presence.complete ? READ_FLAGS : WRITE_FLAGS
    return await onDisk(() => this.#deps.pool.use(this.digest, this.path, flags, work))
  }

  /** Whether the file is there, as long as the blob is. @throws {LayerswarmError} STORE_FAILED when that cannot be told */
  async intact(): Promise<boolean> {
    try {
      return (await this.use((file) => file.stat())).size === this.layout.size
    } catch (error) {
      if (error instanceof Error && errnoOf(error.cause) === 'ENOENT') return false
      throw error
    }
  }

  /**
   * Bytes `start … end - 1`, at the start of `into` where that is large enough, else in memory of their own.
   * @throws {LayerswarmError} STORE_FAILED, also when the file is too short
   */
  async bytes(start: number, end: number, into?: Uint8Array): Promise<Uint8Array> {
    const length = end - start
    const bytes = into !== undefined && into.byteLength >= length ? into.subarray(0, length) : Buffer.allocUnsafeSlow(length)
    await this.use(async (file) => {
      let done = 0
      while (done < bytes.byteLength) {
        const { bytesRead } = await file.read(bytes, done, bytes.byteLength - done, start + done)
        if (bytesRead === 0) throw new LayerswarmError('STORE_FAILED', { detail: 'a file is shorter than it was' })
        done += bytesRead
      }
    })
    return bytes
  }

  async piece(piece: number, into?: Uint8Array): Promise<Uint8Array | undefined> {
    const { layout, presence } = this
    if (!presence.offers(piece)) return undefined
    const { forgets } = presence
    const start = pieceStart(layout, piece)
    const bytes = await this.bytes(start, start + pieceLength(layout, piece), into)
    return presence.forgets === forgets ? bytes : undefined
  }
}
