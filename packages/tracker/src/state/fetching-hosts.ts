import type { Blob, Host } from './model.ts'

/**
 * The hosts of a zone that fetch a blob, to be drawn from at random. Each host keeps its own places: with ten thousand
 * hosts that fetch 64 layers, one small table for each host is quicker to keep than one large table for each layer.
 */
export class FetchingHosts {
  readonly #blob: Blob
  readonly #hosts: Host[] = []

  constructor(blob: Blob) {
    this.#blob = blob
  }

  get size(): number {
    return this.#hosts.length
  }

  at(place: number): Host | undefined {
    return this.#hosts[place]
  }

  /** The host must not be in it. */
  add(host: Host): void {
    host.wants.set(this.#blob, { place: this.#hosts.push(host) - 1, ticket: -1 })
  }

  /** @returns whether the host was in it. */
  delete(host: Host): boolean {
    const want = host.wants.get(this.#blob)
    if (want === undefined) return false
    host.wants.delete(this.#blob)
    const last = this.#hosts.pop() as Host
    if (last !== host) {
      this.#hosts[want.place] = last
      const moved = last.wants.get(this.#blob)
      if (moved !== undefined) moved.place = want.place
    }
    return true
  }
}
