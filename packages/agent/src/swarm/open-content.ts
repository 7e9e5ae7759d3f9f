import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { pieceAt, pieceStart } from '@layerswarm/core/piece-layout.ts'
import type { BlobReader, ByteRange, OpenContent, ReadOptions, SourceCounts } from '../ports.ts'
import type { Transfer } from './transfer.ts'

/** A complete blob of the store. */
export class StoredContent implements OpenContent {
  readonly size: number
  readonly #reader: BlobReader
  readonly #counts: SourceCounts

  constructor(reader: BlobReader, counts?: SourceCounts) {
    this.#reader = reader
    this.size = reader.layout.size
    this.#counts = counts ?? { local: this.size, peer: 0, registry: 0 }
  }

  counts(): SourceCounts {
    return this.#counts
  }

  read(range: ByteRange, options?: ReadOptions): AsyncIterable<Uint8Array> {
    return this.#reader.read(range, options)
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#reader[Symbol.asyncDispose]()
  }
}

interface TransferContentParts {
  readonly reader: BlobReader
  readonly transfer: Pick<Transfer, 'counts' | 'has'>
  /** Changes with every byte that comes in for the same pull: while it does, this blob waits for its turn on the link. */
  readonly moved: () => number
  /** Tells the scheduler which piece this reader needs next. */
  readonly waiting: (piece: number, waiting: boolean) => void
  readonly passThrough: () => OpenContent
  readonly closed: () => void
}

/** A blob that is still arriving: read in order from the store as its pieces land. */
export class TransferContent implements OpenContent {
  readonly size: number
  readonly #parts: TransferContentParts
  #passing: OpenContent | undefined
  #closed = false

  constructor(parts: TransferContentParts) {
    this.#parts = parts
    this.size = parts.reader.layout.size
  }

  counts(): SourceCounts {
    return this.#passing?.counts() ?? this.#parts.transfer.counts
  }

  moved(): number {
    return this.#parts.moved() + (this.#passing?.counts().registry ?? 0)
  }

  async *read(range: ByteRange, options: ReadOptions = {}): AsyncIterable<Uint8Array> {
    const progress = { offset: range.start }
    try {
      yield* this.#fromStore(range, options, progress)
    } catch (error) {
      if (!isLayerswarmError(error, 'STORE_FULL', 'STORE_FAILED') || options.signal?.aborted === true) throw error
      this.#passing = this.#parts.passThrough()
      yield* this.#continue(this.#passing, range, progress.offset, options)
    }
  }

  /**
   * Goes on from `given`, once what was given out before is found to be what the registry sends: it was read from a
   * store in which it never got proven.
   */
  async *#continue(passing: OpenContent, range: ByteRange, given: number, options: ReadOptions): AsyncIterable<Uint8Array> {
    let at = range.start
    for await (const chunk of passing.read(range, options)) {
      const known = Math.min(chunk.byteLength, Math.max(0, given - at))
      if (known > 0 && !(await this.#stored(at, chunk.subarray(0, known)))) {
        throw new LayerswarmError('DIGEST_MISMATCH', { detail: this.#parts.reader.digest })
      }
      at += chunk.byteLength
      if (known < chunk.byteLength) yield chunk.subarray(known)
    }
  }

  /** Whether the store has `bytes` at `start`. */
  async #stored(start: number, bytes: Uint8Array): Promise<boolean> {
    const { reader } = this.#parts
    for (let offset = 0; offset < bytes.byteLength; ) {
      const number = pieceAt(reader.layout, start + offset)
      const piece = await reader.piece(number)
      const part = piece?.subarray(start + offset - pieceStart(reader.layout, number))
      const length = Math.min(part?.byteLength ?? 0, bytes.byteLength - offset)
      if (part === undefined || Buffer.compare(part.subarray(0, length), bytes.subarray(offset, offset + length)) !== 0) return false
      offset += length
    }
    return true
  }

  async *#fromStore(range: ByteRange, options: ReadOptions, progress: { offset: number }): AsyncIterable<Uint8Array> {
    const { reader, transfer, waiting } = this.#parts
    const chunks = reader.read(range, options)[Symbol.asyncIterator]()
    try {
      while (progress.offset < range.end) {
        const piece = pieceAt(reader.layout, progress.offset)
        const waits = !reader.complete && !transfer.has(piece)
        if (waits) waiting(piece, true)
        const next = await chunks.next().finally(() => waits && waiting(piece, false))
        if (next.done === true) return
        progress.offset += next.value.byteLength
        yield next.value
      }
      await chunks.next()
    } finally {
      await chunks.return?.()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#parts.closed()
    await this.#parts.reader[Symbol.asyncDispose]()
  }
}
