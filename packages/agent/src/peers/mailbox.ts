import { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Abortable, Availability } from '../ports.ts'

interface News {
  pieces: number[] | PieceSet
  load: number
  claims: Uint8Array[]
  map?: Uint8Array
  gone?: boolean
}

/**
 * What a peer said of one blob and the scheduler has not taken yet, merged: a slow taker holds two entries at most,
 * however much is said.
 */
export class Mailbox {
  readonly #pieces: number
  #entries: News[] = []
  #load = 0
  #failure: { readonly error: unknown } | undefined
  #wake: () => void = () => undefined

  /** @param pieces number of pieces of the blob */
  constructor(pieces: number) {
    this.#pieces = pieces
  }

  pieces(pieces: readonly number[] | PieceSet, load: number): void {
    const entry = this.#entry(load)
    if (entry.pieces instanceof PieceSet) {
      for (const piece of pieces) entry.pieces.add(piece)
    } else if (pieces instanceof PieceSet || entry.pieces.length + pieces.length > this.#pieces) {
      const all = PieceSet.of(this.#pieces, entry.pieces)
      for (const piece of pieces) all.add(piece)
      entry.pieces = all
    } else entry.pieces.push(...pieces)
    this.#wake()
  }

  /** Says it even when nothing else is new; no news where the load is as before. */
  load(load: number): void {
    if (load === this.#load) return
    this.#entry(load)
    this.#wake()
  }

  claims(claims: readonly Uint8Array[]): void {
    this.#entry().claims.push(...claims)
    this.#wake()
  }

  map(hashes: Uint8Array): void {
    this.#entry().map = hashes
    this.#wake()
  }

  /** Nothing is held any more: what was said before is worth nothing. */
  gone(): void {
    this.#entries = [{ pieces: [], load: this.#load, claims: [], gone: true }]
    this.#wake()
  }

  /** Ends the news with an error, after what was said before it. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#wake()
  }

  /** The news as they come. @throws what {@link fail} was told, or the signal's reason */
  async *take({ signal }: Abortable): AsyncGenerator<Availability> {
    const onAbort = () => this.#wake()
    signal?.addEventListener('abort', onAbort)
    try {
      while (true) {
        signal?.throwIfAborted()
        const news = this.#entries.shift()
        if (news !== undefined) yield news
        else if (this.#failure !== undefined) throw this.#failure.error
        else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  #entry(load = this.#load): News {
    this.#load = load
    let entry = this.#entries.at(-1)
    if (entry === undefined || entry.gone === true) {
      entry = { pieces: [], load, claims: [] }
      this.#entries.push(entry)
    }
    entry.load = load
    return entry
  }
}
