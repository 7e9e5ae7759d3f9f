/** What moves between the pieces that land: on a slow or limited link one piece takes seconds. */
export class Underway {
  readonly #peers = new Set<string>()
  readonly #fetches = new Map<number, number>()
  #moved = 0
  #seen = 0

  /** Bytes that have come in all; it grows with each of them. */
  get moved(): number {
    return this.#moved
  }

  fromPeer(peer: string, bytes: number): void {
    this.#moved += bytes
    this.#peers.add(peer)
  }

  fromRegistry(fetch: number, bytes: number): void {
    this.#moved += bytes
    this.#fetches.set(fetch, (this.#fetches.get(fetch) ?? 0) + bytes)
  }

  /** The piece that `fetch` was bringing has landed, or never will. */
  ended(fetch: number): void {
    this.#fetches.delete(fetch)
  }

  /**
   * What came since the last look: from whom, and how many bytes of the piece that each registry transfer is bringing.
   * Undefined when nothing did.
   */
  take(): { readonly peers: readonly string[]; readonly fetches: ReadonlyMap<number, number> } | undefined {
    if (this.#moved === this.#seen) return undefined
    this.#seen = this.#moved
    const peers = [...this.#peers]
    this.#peers.clear()
    return { peers, fetches: new Map(this.#fetches) }
  }
}
