import { hash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'

/** What the yardsticks verify and write at once: the largest piece there is. */
const PIECE_BYTES = 4 * 1024 * 1024

/** Verifies pieces of a byte stream against known hashes and writes them to a file: the same work for every subject. */
export class Sink {
  readonly #file: FileHandle
  readonly #hashes: readonly string[]
  #piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
  #filled = 0
  #at = 0
  #writing: Promise<unknown> = Promise.resolve()

  private constructor(file: FileHandle, hashes: readonly string[]) {
    this.#file = file
    this.#hashes = hashes
  }

  static async open(path: string, hashes: readonly string[]): Promise<Sink> {
    return new Sink(await open(path, 'w'), hashes)
  }

  /** @returns what to wait for before more is taken; undefined while there is room */
  push(chunk: Uint8Array): Promise<unknown> | undefined {
    let rest = chunk
    let wait: Promise<unknown> | undefined
    while (rest.byteLength > 0) {
      const part = rest.subarray(0, PIECE_BYTES - this.#filled)
      this.#piece.set(part, this.#filled)
      this.#filled += part.byteLength
      rest = rest.subarray(part.byteLength)
      if (this.#filled === PIECE_BYTES) wait = this.#flush()
    }
    return wait
  }

  #flush(): Promise<unknown> {
    const bytes = this.#piece.subarray(0, this.#filled)
    const at = this.#at
    if (hash('sha256', bytes, 'hex') !== this.#hashes[at / PIECE_BYTES]) throw new Error(`a wrong piece at ${at}`)
    const write = this.#writing.then(async () => await this.#file.write(bytes, 0, bytes.byteLength, at))
    this.#at += bytes.byteLength
    this.#filled = 0
    this.#piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
    this.#writing = write
    return write
  }

  async end(): Promise<void> {
    if (this.#filled > 0) await this.#flush()
    await this.#writing
    await this.#file.close()
  }
}
