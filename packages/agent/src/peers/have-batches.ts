import type { Clock } from '@layerswarm/core/clock.ts'
import { Nudge } from '@layerswarm/core/nudge.ts'

/** Haves are gathered for so long after the last batch; the first after a pause leaves at once, ms. */
export const HAVE_BATCH_MS = 20
/**
 * The same for pieces that several neighbours have, ms: nobody waits for one more source, and by then most of those who
 * lacked them have got them elsewhere. In simulation it saves a third of the haves on slow links and no host takes longer.
 */
export const COMMON_BATCH_MS = 250

/** Somebody who is told what is new in batches. */
export interface Told {
  /** @returns false where it cannot be told now */
  tellHaves(): boolean
}

/** When what is new is told: to all at the same time, so that a piece that lands wakes this process up once. */
export class HaveBatches {
  readonly #clock: Clock
  readonly #earlier: Nudge
  readonly #closed = new AbortController()
  readonly #due = new Set<Told>()
  #dueAt = Number.POSITIVE_INFINITY
  #toldAt = Number.NEGATIVE_INFINITY
  #telling = false

  constructor(clock: Clock) {
    this.#clock = clock
    this.#earlier = new Nudge(clock)
  }

  /** @param afterMs the least time since the batch before */
  add(told: Told, afterMs: number): void {
    this.#due.add(told)
    const at = this.#toldAt + afterMs
    if (at < this.#dueAt) {
      this.#dueAt = at
      if (this.#telling) this.#earlier.nudge()
    }
    if (!this.#telling) void this.#tell()
  }

  close(): void {
    this.#closed.abort()
  }

  async #tell(): Promise<void> {
    this.#telling = true
    // All who follow the blob have their turn with the piece that has landed first.
    await new Promise(setImmediate)
    try {
      while (this.#due.size > 0) {
        const wait = this.#dueAt - this.#clock.now()
        if (wait > 0) {
          await this.#earlier.next(wait, this.#closed.signal)
          continue
        }
        this.#toldAt = this.#clock.now()
        for (const told of this.#due) if (told.tellHaves()) this.#due.delete(told)
        this.#dueAt = this.#due.size > 0 ? this.#toldAt + HAVE_BATCH_MS : Number.POSITIVE_INFINITY
      }
    } catch {
      // Closed: nobody is told any more.
      this.#due.clear()
    } finally {
      this.#telling = false
    }
  }
}
