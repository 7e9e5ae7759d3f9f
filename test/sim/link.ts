/** One direction of a host's link: bytes leave in order, at the link's rate. */
export class Link {
  /** Bytes a millisecond. */
  readonly rate: number
  freeAt = 0

  constructor(bytesPerSecond: number) {
    this.rate = bytesPerSecond / 1000
  }

  /** @returns when `bytes` that are ready at `at` have passed */
  pass(at: number, bytes: number): number {
    this.freeAt = Math.max(this.freeAt, at) + bytes / this.rate
    return this.freeAt
  }

  /** The same for bytes that stream in from another link and are through that one at `through`: nothing is stored on the way. */
  passThrough(through: number, bytes: number): number {
    this.freeAt = Math.max(through, this.freeAt + bytes / this.rate)
    return this.freeAt
  }
}
