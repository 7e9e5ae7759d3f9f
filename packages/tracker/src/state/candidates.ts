import type { Blob, Host } from './model.ts'

/** Entries of hosts that are candidates no more, kept until they are most of the queue. */
const MAX_STALE = 64

/**
 * Hosts that may fetch a blob from the registry, in the order of asking. Whether a host is one stands in its own table,
 * as its ticket: a number in the queue, which is no more than a list.
 */
export class Candidates {
  readonly #blob: Blob
  #queue: Host[] = []
  #size = 0

  constructor(blob: Blob) {
    this.#blob = blob
  }

  get size(): number {
    return this.#size
  }

  has(host: Host): boolean {
    return (host.wants.get(this.#blob)?.ticket ?? -1) >= 0
  }

  /** To the end of the queue; nothing happens to one that is in it, or that does not fetch the blob. */
  add(host: Host): void {
    const want = host.wants.get(this.#blob)
    if (want === undefined || want.ticket >= 0) return
    want.ticket = this.#queue.push(host) - 1
    this.#size++
  }

  delete(host: Host): void {
    const want = host.wants.get(this.#blob)
    if (want === undefined || want.ticket < 0) return
    want.ticket = -1
    this.#size--
  }

  /** Those that are added meanwhile come too. */
  *[Symbol.iterator](): Generator<Host> {
    if (this.#queue.length > 2 * this.#size + MAX_STALE) this.#tidy()
    const queue = this.#queue
    for (let place = 0; place < queue.length; place++) {
      const host = queue[place]
      if (host?.wants.get(this.#blob)?.ticket === place) yield host
    }
  }

  #tidy(): void {
    const queue = this.#queue.filter((host, place) => host.wants.get(this.#blob)?.ticket === place)
    for (const [place, host] of queue.entries()) {
      const want = host.wants.get(this.#blob)
      if (want !== undefined) want.ticket = place
    }
    this.#queue = queue
  }
}
