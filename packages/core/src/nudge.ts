import type { Clock } from './clock.ts'

/** Something to be looked at again: any number of nudges make one look. */
export class Nudge {
  readonly #clock: Clock
  #nudged = false
  #wake = (): void => {}

  constructor(clock: Clock) {
    this.#clock = clock
  }

  nudge(): void {
    this.#nudged = true
    this.#wake()
  }

  /** Resolves once nudged since the last time, and after `ms` in any case. For one who waits. @throws the signal's reason */
  async next(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    if (!this.#nudged) await this.#clock.sleep(ms, { signal: AbortSignal.any([signal, woken.signal]) }).catch(() => undefined)
    signal.throwIfAborted()
    this.#nudged = false
  }
}
