/** Which pieces of a blob are meant: a bitfield with its count kept. Bit 0 of byte 0 is piece 0. */
export class PieceSet {
  readonly length: number
  readonly #bits: Uint8Array
  #count = 0

  constructor(length: number) {
    this.length = length
    this.#bits = new Uint8Array(Math.ceil(length / 8))
  }

  static full(length: number): PieceSet {
    const set = new PieceSet(length)
    set.#bits.fill(0xff)
    if (length % 8 !== 0) set.#bits[set.#bits.length - 1] = (1 << (length % 8)) - 1
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
    const set = new PieceSet(length)
    if (bytes.byteLength !== set.#bits.byteLength) throw new RangeError('bitfield of the wrong length')
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
    return (((this.#bits[piece >> 3] ?? 0) >> (piece & 7)) & 1) === 1
  }

  /** @returns whether the piece was new. */
  add(piece: number): boolean {
    if (piece < 0 || piece >= this.length || this.has(piece)) return false
    this.#bits[piece >> 3] = (this.#bits[piece >> 3] ?? 0) | (1 << (piece & 7))
    this.#count++
    return true
  }

  /** @returns whether the piece was there. */
  remove(piece: number): boolean {
    if (!this.has(piece)) return false
    this.#bits[piece >> 3] = (this.#bits[piece >> 3] ?? 0) & ~(1 << (piece & 7))
    this.#count--
    return true
  }

  addAll(other: PieceSet): void {
    for (const piece of other) this.add(piece)
  }

  clear(): void {
    this.#bits.fill(0)
    this.#count = 0
  }

  /** The first piece at or after `from` that is not in the set; `length` when there is none. */
  firstMissing(from = 0): number {
    let piece = from
    while (piece < this.length) {
      if ((piece & 7) === 0 && this.#bits[piece >> 3] === 0xff) piece += 8
      else if (this.has(piece)) piece++
      else return piece
    }
    return this.length
  }

  *[Symbol.iterator](): Generator<number> {
    for (let byte = 0; byte < this.#bits.length; byte++) {
      const bits = this.#bits[byte] ?? 0
      if (bits === 0) continue
      for (let bit = 0; bit < 8; bit++) if ((bits >> bit) & 1) yield byte * 8 + bit
    }
  }

  encode(): Uint8Array {
    return this.#bits.slice()
  }

  clone(): PieceSet {
    const copy = new PieceSet(this.length)
    copy.#bits.set(this.#bits)
    copy.#count = this.#count
    return copy
  }
}
