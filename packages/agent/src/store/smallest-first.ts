/** A queue of sized things that gives the smallest, the latest of several alike first. */
export class SmallestFirst<T> {
  readonly #sizeOf: (item: T) => number
  /** The smallest last. */
  readonly #items: T[] = []

  constructor(sizeOf: (item: T) => number) {
    this.#sizeOf = sizeOf
  }

  get length(): number {
    return this.#items.length
  }

  push(item: T): void {
    const size = this.#sizeOf(item)
    let [low, high] = [0, this.#items.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const other = this.#items[middle]
      if (other !== undefined && this.#sizeOf(other) > size) low = middle + 1
      else high = middle
    }
    this.#items.splice(low, 0, item)
  }

  pop(): T | undefined {
    return this.#items.pop()
  }
}
