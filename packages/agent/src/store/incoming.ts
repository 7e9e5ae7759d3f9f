import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { algorithmOf, type Digest, hexOf } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable, ByteRange, IncomingBlob } from '../ports.ts'
import { writeFully } from './append-log.ts'
import { onDisk } from './disk-errors.ts'
import type { FilePool } from './file-pool.ts'
import type { HashThread } from './hash-thread.ts'
import type { Keeping } from './keeping.ts'
import type { Room } from './room.ts'
import { type StoreFiles, WRITE_FLAGS } from './store-files.ts'

/** Room is made in steps of this, so that not every chunk has to. */
const ROOM_BYTES = 16 * 1024 * 1024
const READ_BYTES = 1024 * 1024

export interface IncomingDeps {
  readonly files: StoreFiles
  readonly pool: FilePool
  readonly hashes: HashThread
  readonly room: Room
  readonly keeping: Keeping
}

/** Bytes in a file of their own, their SHA-256 kept up with. They count against the store's bound as they come. */
export class Incoming implements IncomingBlob {
  static #last = 0
  readonly #deps: IncomingDeps
  readonly #id = ++Incoming.#last
  readonly #hash = createHash('sha256')
  #size = 0
  /** Bytes that room is held for. */
  #room = 0
  #moved = false
  #appending = false
  /** What it is, as long as it has these bytes and no more. */
  #proven: { readonly digest: Digest; readonly size: number } | undefined
  /** It is a blob, or about to be: no byte may come to it any more, however late. */
  #sealed = false

  private constructor(deps: IncomingDeps) {
    this.#deps = deps
  }

  /** @throws {LayerswarmError} STORE_FULL, STORE_FAILED */
  static async open(deps: IncomingDeps): Promise<Incoming> {
    const incoming = new Incoming(deps)
    await incoming.#use((file) => file.truncate(0))
    return incoming
  }

  get size(): number {
    return this.#size
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.#sealed) throw new LayerswarmError('UPLOAD_UNKNOWN', { detail: 'it is complete' })
    this.#appending = true
    try {
      await this.#append(bytes)
    } finally {
      this.#appending = false
    }
  }

  async *read({ start, end }: ByteRange): AsyncGenerator<Uint8Array> {
    for (let at = start; at < end; ) {
      const length = Math.min(READ_BYTES, end - at)
      const { bytesRead, buffer } = await this.#use((file) => file.read(Buffer.allocUnsafe(length), 0, length, at))
      if (bytesRead === 0) throw new RangeError(`there are no bytes from ${at} on`)
      yield buffer.subarray(0, bytesRead)
      at += bytesRead
    }
  }

  async proves(digest: Digest, options: Abortable = {}): Promise<boolean> {
    const size = this.#size
    const good =
      algorithmOf(digest) === 'sha256'
        ? this.#hash.copy().digest('hex') === hexOf(digest)
        : await this.#deps.hashes.proves(this.#path, digest, size, options)
    if (good) this.#proven = { digest, size }
    return good
  }

  async keep(digest: Digest): Promise<void> {
    const { keeping, files } = this.#deps
    const isProven = this.#proven?.digest === digest && this.#proven.size === this.#size
    if (!isProven || this.#appending) throw new Error(`${digest} is not proven`)
    this.#sealed = true
    await this.#use(async (file) => {
      // A write that failed in its middle left bytes that were never counted.
      await file.truncate(this.#size)
      await file.datasync()
    })
    await onDisk(() =>
      keeping.keep(digest, this.#size, async () => {
        await files.promote(digest, this.#path)
        this.#moved = true
      })
    )
    this.#letGo()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { pool, files } = this.#deps
    this.#letGo()
    await pool.forget(this.#path)
    if (!this.#moved) await onDisk(() => files.removeIncoming(this.#id))
  }

  async #append(bytes: Uint8Array): Promise<void> {
    const { room } = this.#deps
    if (this.#size + bytes.byteLength > this.#room) {
      const step = Math.max(ROOM_BYTES, bytes.byteLength)
      await room.hold(step)
      this.#room += step
    }
    const write = (): Promise<void> => this.#use((file) => writeFully(file, bytes, this.#size))
    try {
      await write()
    } catch (error) {
      if (!isLayerswarmError(error, 'STORE_FULL') || !(await room.relieve(bytes.byteLength))) throw error
      await write()
    }
    this.#hash.update(bytes)
    this.#size += bytes.byteLength
  }

  get #path(): string {
    return this.#deps.files.incoming(this.#id)
  }

  #letGo(): void {
    this.#deps.room.letGo(this.#room)
    this.#room = 0
  }

  #use<T>(work: (file: FileHandle) => Promise<T>): Promise<T> {
    return onDisk(() => this.#deps.pool.use(this.#path, this.#path, WRITE_FLAGS, work))
  }
}
