/** Bytes kept for reuse; beyond that, buffers are left to the garbage collector. A dozen pieces of the largest size. */
const MAX_KEPT_BYTES = 48 * 1024 * 1024

/** Memory for pieces on their way. Fresh buffers are a main cost of moving bytes: the runtime collects garbage for them. */
export class PieceBuffers {
  readonly #free = new Map<number, Uint8Array[]>()
  #kept = 0

  /** A buffer of exactly `length` bytes with any content. */
  take(length: number): Uint8Array {
    const free = this.#free.get(length)?.pop()
    if (free === undefined) return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
    this.#kept -= length
    return free
  }

  /** Gives a buffer back that nobody reads any more. */
  give(buffer: Uint8Array): void {
    const length = buffer.byteLength
    if (this.#kept + length > MAX_KEPT_BYTES) this.#dropAll()
    if (length > MAX_KEPT_BYTES) return
    const free = this.#free.get(length) ?? []
    this.#free.set(length, free)
    free.push(buffer)
    this.#kept += length
  }

  /** Sizes change with the blobs: what is kept may be of a size that is never asked for again. */
  #dropAll(): void {
    this.#free.clear()
    this.#kept = 0
  }
}
