import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type PieceLayout, pieceAt, pieceLength, pieceStart } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Abortable } from '../ports.ts'

/** What one `read` has given out so far: bytes `start … end - 1`. */
interface Cursor {
  start: number
  end: number
  /** Why it must go no further. */
  error?: unknown
}

/** Bytes of the pieces in `set`. */
export function bytesOf(layout: PieceLayout, set: PieceSet): number {
  const last = layout.pieces - 1
  return set.count * layout.pieceSize - (set.has(last) ? layout.pieceSize - pieceLength(layout, last) : 0)
}

/**
 * Which pieces of one blob are there, and everybody who waits for more. Knows no files: it decides what may be read,
 * its owner reads it.
 *
 * Rules it keeps: the last piece is withheld from in-order readers until the whole is proven; a reader that was given
 * a byte of a piece that is forgotten later can never finish.
 */
export class Presence {
  readonly layout: PieceLayout
  readonly have: PieceSet
  #complete: boolean
  #failure: { readonly error: unknown } | undefined
  /** Why nothing of it may be read any more, although it was complete. */
  #refuted: { readonly error: unknown } | undefined
  readonly #waiters = new Set<() => void>()
  readonly #landings = new Set<number[]>()
  readonly #cursors = new Set<Cursor>()
  #forgets = 0

  constructor(layout: PieceLayout, options: { have?: PieceSet; complete: boolean }) {
    this.layout = layout
    this.#complete = options.complete
    this.have = options.have ?? (options.complete ? PieceSet.full(layout.pieces) : new PieceSet(layout.pieces))
  }

  /** The whole digest is proven. */
  get complete(): boolean {
    return this.#complete
  }

  /** Grows whenever pieces are forgotten or refuted: bytes read across such a moment may be of either time. */
  get forgets(): number {
    return this.#forgets
  }

  /** Bytes of the pieces that are there. */
  get bytes(): number {
    return bytesOf(this.layout, this.have)
  }

  add(piece: number): void {
    if (!this.have.add(piece)) return
    for (const queue of this.#landings) queue.push(piece)
    this.#wake()
  }

  finish(): void {
    this.#complete = true
    this.#wake()
  }

  /** Makes everyone who waits, now or later, throw `error`, until {@link recover}. The first reason is the one that tells. */
  fail(error: unknown): void {
    if (this.#complete) return
    this.#failure ??= { error }
    this.#wake()
  }

  recover(): void {
    this.#failure = undefined
  }

  /**
   * The whole was false: no read that began before this may go on, for nobody knows which of its bytes were wrong. Of one
   * that was complete nothing is given out from now on.
   */
  refute(error: unknown): void {
    if (this.#complete) {
      this.#refuted = { error }
      this.#forgets++
    }
    for (const cursor of this.#cursors) cursor.error = error
    this.#wake()
  }

  /** A piece is there and may be given out. */
  offers(piece: number): boolean {
    return this.have.has(piece) && this.#refuted === undefined
  }

  forget(pieces: Iterable<number>): void {
    const { layout } = this
    this.#forgets++
    for (const piece of pieces) {
      if (!this.have.remove(piece)) continue
      const start = pieceStart(layout, piece)
      const end = start + pieceLength(layout, piece)
      for (const cursor of this.#cursors) {
        if (cursor.start < end && start < cursor.end) cursor.error = new LayerswarmError('DIGEST_MISMATCH')
      }
    }
    this.#wake()
  }

  /** End of the bytes from `from` on that may be given to an in-order reader now; `from` when there are none. */
  readableUntil(from: number, end: number): number {
    if (this.#complete) return end
    const { layout } = this
    const missing = this.have.firstMissing(pieceAt(layout, from))
    return Math.max(from, Math.min(end, pieceStart(layout, Math.min(missing, layout.pieces - 1))))
  }

  /**
   * The parts of bytes `start … end - 1` in order, at most `step` bytes each, every one as soon as it may be read.
   * Nothing is looked at ahead of the consumer.
   * @throws the failure that was set, DIGEST_MISMATCH when bytes already given out turned out false, the signal's reason
   */
  async *readable(start: number, end: number, step: number, options: Abortable = {}): AsyncGenerator<{ start: number; end: number }> {
    const cursor: Cursor = { start, end: start, error: this.#refuted?.error }
    this.#cursors.add(cursor)
    try {
      while (cursor.end < end) {
        options.signal?.throwIfAborted()
        if (cursor.error !== undefined) throw cursor.error
        const from = cursor.end
        const until = Math.min(this.readableUntil(from, end), from + step)
        if (until > from) {
          cursor.end = until
          yield { start: from, end: until }
        } else await this.#change(options)
      }
      if (cursor.error !== undefined) throw cursor.error
    } finally {
      this.#cursors.delete(cursor)
    }
  }

  /** Pieces added from this call on, in batches; ends when the blob is complete. @throws as {@link readable} */
  landed(options: Abortable = {}): AsyncGenerator<readonly number[]> {
    const queue: number[] = []
    this.#landings.add(queue)
    return this.#drain(queue, options)
  }

  async *#drain(queue: number[], options: Abortable): AsyncGenerator<readonly number[]> {
    try {
      while (true) {
        options.signal?.throwIfAborted()
        if (queue.length > 0) yield queue.splice(0)
        else if (this.#complete) return
        else await this.#change(options)
      }
    } finally {
      this.#landings.delete(queue)
    }
  }

  async #change({ signal }: Abortable): Promise<void> {
    this.#throwIfFailed()
    let wake = (): void => {}
    try {
      await new Promise<void>((resolve) => {
        wake = resolve
        this.#waiters.add(wake)
        signal?.addEventListener('abort', wake, { once: true })
      })
    } finally {
      this.#waiters.delete(wake)
      signal?.removeEventListener('abort', wake)
    }
    signal?.throwIfAborted()
    this.#throwIfFailed()
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #wake(): void {
    for (const wake of this.#waiters) wake()
  }
}
