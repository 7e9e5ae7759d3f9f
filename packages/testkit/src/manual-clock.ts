import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '@layerswarm/core/clock.ts'

/** Turns of the event loop given to whoever woke, so that promise chains and loopback I/O settle before time moves on. */
const SETTLING_TURNS = 5

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

/** Time that moves only when the test says so: sleeps end in the order of their deadlines, each at exactly its time. */
export class ManualClock implements Clock {
  #now: number
  readonly #sleepers = new Set<Sleeper>()

  /** @param start ms */
  constructor(start = 0) {
    this.#now = start
  }

  now(): number {
    return this.#now
  }

  /** Sleeps under way. */
  get sleeping(): number {
    return this.#sleepers.size
  }

  /** When the next sleep ends, in ms on this clock; undefined while nobody sleeps. */
  get nextAt(): number | undefined {
    return this.#next()?.at
  }

  async sleep(ms: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    signal?.throwIfAborted()
    let sleeper: Sleeper | undefined
    let onAbort: (() => void) | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        sleeper = { at: this.#now + Math.max(0, ms), wake: resolve }
        this.#sleepers.add(sleeper)
        onAbort = () => reject(signal?.reason)
        signal?.addEventListener('abort', onAbort)
      })
    } finally {
      if (sleeper !== undefined) this.#sleepers.delete(sleeper)
      if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Moves on by `ms`, stopping at each sleep that ends on the way, the ones begun meanwhile included. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await settle()
    for (let next = this.#next(); next !== undefined && next.at <= end; next = this.#next()) {
      this.#now = next.at
      this.#sleepers.delete(next)
      next.wake()
      await settle()
    }
    this.#now = end
  }

  /**
   * Moves from sleep to sleep until `work` is settled.
   * @param limit ms of virtual time after which the test has waited long enough
   * @returns what `work` gave
   */
  async runUntil<T>(work: Promise<T>, limit = 3_600_000): Promise<T> {
    const end = this.#now + limit
    let done = false
    const settled = work.finally(() => {
      done = true
    })
    // Its failure is the caller's, at the end; until then it must not count as unhandled.
    settled.catch(() => {})
    await settle()
    while (!done) {
      const next = this.#next()
      if (next !== undefined && next.at > end) throw new Error(`not done after ${limit} ms of virtual time`)
      if (next === undefined) await turn()
      else await this.advance(next.at - this.#now)
    }
    return await settled
  }

  #next(): Sleeper | undefined {
    let next: Sleeper | undefined
    for (const sleeper of this.#sleepers) if (next === undefined || sleeper.at < next.at) next = sleeper
    return next
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < SETTLING_TURNS; i++) await turn()
}
