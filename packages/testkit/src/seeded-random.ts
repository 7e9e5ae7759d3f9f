import { createCipheriv, createHash } from 'node:crypto'

/** Repeatable randomness: the same seed gives the same values, on every machine. */
export class SeededRandom {
  readonly #seed: string
  #state: number
  #blocks = 0

  constructor(seed: number | string) {
    this.#seed = String(seed)
    this.#state = createHash('sha256').update(this.#seed).digest().readUInt32BE(0)
  }

  /** In 0 … 1, 1 excluded (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number in 0 … `below - 1`. */
  int(below: number): number {
    return Math.floor(this.next() * below)
  }

  pick<T>(from: readonly T[]): T {
    const at = this.int(from.length)
    if (from.length === 0) throw new RangeError('nothing to pick from')
    return from[at] as T
  }

  shuffle<T>(values: readonly T[]): T[] {
    const shuffled = [...values]
    for (let at = shuffled.length - 1; at > 0; at--) {
      const other = this.int(at + 1)
      ;[shuffled[at], shuffled[other]] = [shuffled[other] as T, shuffled[at] as T]
    }
    return shuffled
  }

  /** Bytes that do not compress, at the speed of AES. */
  bytes(length: number): Uint8Array {
    const key = createHash('sha256')
      .update(`${this.#seed}/${this.#blocks++}`)
      .digest()
    return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
  }
}
