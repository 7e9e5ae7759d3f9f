/** Virtual time: what is to happen, earliest first; equal times keep the order they were added in. */
export class EventQueue {
  #heap: { at: number; order: number; run: () => void }[] = []
  #order = 0
  now = 0

  /** @param delay milliseconds from now */
  after(delay: number, run: () => void): void {
    this.at(this.now + delay, run)
  }

  at(at: number, run: () => void): void {
    const heap = this.#heap
    const entry = { at, order: this.#order++, run }
    let child = heap.length
    heap.push(entry)
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (!before(entry, heap[parent])) break
      heap[child] = heap[parent] as typeof entry
      child = parent
    }
    heap[child] = entry
  }

  /** Runs until `done` says so or nothing is left. @returns whether `done` did */
  runUntil(done: () => boolean, limit: number): boolean {
    while (!done()) {
      const first = this.#pop()
      if (first === undefined || first.at > limit) return false
      this.now = first.at
      first.run()
    }
    return true
  }

  #pop(): { at: number; run: () => void } | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let parent = 0
    for (;;) {
      let child = 2 * parent + 1
      if (child >= heap.length) break
      const right = heap[child + 1]
      if (right !== undefined && before(right, heap[child])) child++
      const candidate = heap[child] as typeof last
      if (!before(candidate, last)) break
      heap[parent] = candidate
      parent = child
    }
    heap[parent] = last
    return first
  }
}

function before(a: { at: number; order: number }, b: { at: number; order: number } | undefined): boolean {
  return b !== undefined && (a.at < b.at || (a.at === b.at && a.order < b.order))
}
