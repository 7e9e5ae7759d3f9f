import { endianness } from 'node:os'

if (endianness() !== 'LE') throw new Error('a little-endian machine is needed')

/**
 * Which pieces of a blob are meant: a bitfield with its count kept. As bytes, bit 0 of byte 0 is piece 0; in memory
 * 32 pieces share a word, so that the scheduler can intersect sets 32 pieces at a time.
 */
export class PieceSet {
  readonly length: number
  readonly #words: Uint32Array
  #count = 0

  constructor(length: number) {
    this.length = length
    this.#words = new Uint32Array(Math.ceil(length / 32))
  }

  static full(length: number): PieceSet {
    const set = new PieceSet(length)
    set.#words.fill(0xffffffff)
    if (length % 32 !== 0) set.#words[set.#words.length - 1] = 2 ** (length % 32) - 1
    set.#count = length
    return set
  }

  static of(length: number, pieces: Iterable<number>): PieceSet {
    const set = new PieceSet(length)
    for (const piece of pieces) set.add(piece)
    return set
  }

  /**
   * Reads what {@link encode} wrote. Bits beyond `length` are ignored.
   * @throws {RangeError} when there are not exactly as many bytes as `length` needs.
   */
  static decode(length: number, bytes: Uint8Array): PieceSet {
    if (bytes.byteLength !== Math.ceil(length / 8)) throw new RangeError('bitfield of the wrong length')
    const set = new PieceSet(length)
    for (let piece = 0; piece < length; piece++) {
      if (((bytes[piece >> 3] ?? 0) >> (piece & 7)) & 1) set.add(piece)
    }
    return set
  }

  get count(): number {
    return this.#count
  }

  get complete(): boolean {
    return this.#count === this.length
  }

  has(piece: number): boolean {
    return (((this.#words[piece >>> 5] ?? 0) >>> (piece & 31)) & 1) === 1
  }

  /** @returns whether the piece was new. */
  add(piece: number): boolean {
    if (piece < 0 || piece >= this.length || this.has(piece)) return false
    this.#words[piece >>> 5] = (this.#words[piece >>> 5] ?? 0) | (1 << (piece & 31))
    this.#count++
    return true
  }

  /** @returns whether the piece was there. */
  remove(piece: number): boolean {
    if (!this.has(piece)) return false
    this.#words[piece >>> 5] = (this.#words[piece >>> 5] ?? 0) & ~(1 << (piece & 31))
    this.#count--
    return true
  }

  addAll(other: PieceSet): void {
    for (const piece of other) this.add(piece)
  }

  clear(): void {
    this.#words.fill(0)
    this.#count = 0
  }

  /** The first piece at or after `from` that is not in the set; `length` when there is none. */
  firstMissing(from = 0): number {
    let piece = from
    while (piece < this.length) {
      if ((piece & 31) === 0 && this.#words[piece >>> 5] === 0xffffffff) piece += 32
      else if (this.has(piece)) piece++
      else return piece
    }
    return this.length
  }

  /** The first piece at or after `from` that is in this set and in all `others` (of the same length); -1 when there is none. */
  firstCommon(others: readonly PieceSet[], from = 0): number {
    for (let at = from >>> 5; at < this.#words.length; at++) {
      let word = this.#common(others, at)
      if (at === from >>> 5) word &= 0xffffffff << (from & 31)
      if (word !== 0) return at * 32 + 31 - Math.clz32(word & -word)
    }
    return -1
  }

  /**
   * One of the pieces that are in this set and in all `others` (of the same length), each as likely as the next; -1 when
   * there is none.
   * @param random uniform in [0, 1)
   */
  randomCommon(others: readonly PieceSet[], random: () => number): number {
    let count = 0
    for (let at = 0; at < this.#words.length; at++) count += bitsIn(this.#common(others, at))
    if (count === 0) return -1
    let left = Math.floor(random() * count)
    for (let at = 0; ; at++) {
      let word = this.#common(others, at)
      const bits = bitsIn(word)
      if (left >= bits) {
        left -= bits
        continue
      }
      for (; left > 0; left--) word &= word - 1
      return at * 32 + 31 - Math.clz32(word & -word)
    }
  }

  #common(others: readonly PieceSet[], at: number): number {
    let word = this.#words[at] ?? 0
    for (const other of others) word &= other.#words[at] ?? 0
    return word
  }

  *[Symbol.iterator](): Generator<number> {
    for (let at = 0; at < this.#words.length; at++) {
      let word = this.#words[at] ?? 0
      while (word !== 0) {
        const lowest = word & -word
        yield at * 32 + 31 - Math.clz32(lowest)
        word &= ~lowest
      }
    }
  }

  encode(): Uint8Array {
    return new Uint8Array(this.#words.buffer.slice(0, Math.ceil(this.length / 8)))
  }

  clone(): PieceSet {
    const copy = new PieceSet(this.length)
    copy.#words.set(this.#words)
    copy.#count = this.#count
    return copy
  }
}

function bitsIn(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555)
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return (((bits + (bits >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24
}
