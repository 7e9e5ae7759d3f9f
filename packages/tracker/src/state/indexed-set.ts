/** A set that can be drawn from at random: add, delete and access by position in constant time; order means nothing. */
export class IndexedSet<T> {
  readonly #items: T[] = []
  readonly #places = new Map<T, number>()

  get size(): number {
    return this.#items.length
  }

  has(item: T): boolean {
    return this.#places.has(item)
  }

  at(place: number): T | undefined {
    return this.#items[place]
  }

  /** @returns whether it was new. */
  add(item: T): boolean {
    if (this.#places.has(item)) return false
    this.#places.set(item, this.#items.length)
    this.#items.push(item)
    return true
  }

  /** @returns whether it was there. */
  delete(item: T): boolean {
    const place = this.#places.get(item)
    if (place === undefined) return false
    this.#places.delete(item)
    const last = this.#items.pop() as T
    if (last !== item) {
      this.#items[place] = last
      this.#places.set(last, place)
    }
    return true
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#items[Symbol.iterator]()
  }
}
