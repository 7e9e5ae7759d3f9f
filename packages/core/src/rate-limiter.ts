import type { Clock } from './clock.ts'

/**
 * What may pass at once after a pause, in ms of the rate. With one {@link GRAIN_MS} this is what any stretch of time may
 * bring beyond its share: less than 5 % of a second. It also makes up for timers that fire late.
 */
const BURST_MS = 30
/** What is taken at a time, in ms of the rate, so that bytes flow evenly and everybody's turn comes soon. */
const GRAIN_MS = 15
/** The headers of smaller parts would weigh more than their bytes. */
const LEAST_GRAIN = 512
/** Keys remembered beyond those that wait. */
const MAX_KEYS = 1024

export interface TakeOptions {
  /** Whose bytes these are: keys that wait share the rate alike, however many waits each has. */
  readonly key: string
  readonly signal?: AbortSignal | undefined
}

/** Something that bytes must pass. */
export interface Throttle {
  /** Most bytes to take at once for an even flow. */
  readonly grain: number
  /** Waits until `bytes` may pass. @throws the signal's reason when it fires first */
  take(bytes: number, options: TakeOptions): Promise<void>
  /** Lets `bytes` pass where nobody has to wait for that. @returns false where they have to be waited for */
  tryTake(bytes: number): boolean
  /** Lets `bytes` pass at once, whatever passed before; who comes next waits the longer. */
  charge(bytes: number): void
}

interface Waiting {
  readonly bytes: number
  /** Where its key stood when it came, in bytes served per key: the least is next. */
  readonly turn: number
  readonly go: () => void
}

/**
 * A rate for all who share it. Bytes pass while there is no debt, and then make one: so a part larger than what the
 * rate brings in a moment passes whole, and is waited for afterwards. Among keys the one that got least is next; within
 * a key, who came first.
 */
export class RateLimiter implements Throttle {
  readonly grain: number
  readonly #clock: Clock
  /** Bytes a millisecond. */
  readonly #rate: number
  /** Bytes that may pass; a debt below 0. */
  #credit: number
  #countedAt: number
  readonly #waiting: Waiting[] = []
  /** What each key has been promised, in bytes since nobody waited. */
  readonly #promised = new Map<string, number>()
  #turn = 0
  #sleep: AbortController | undefined

  /** @param bytesPerSecond at least 1 */
  constructor({ clock }: { readonly clock: Clock }, { bytesPerSecond }: { readonly bytesPerSecond: number }) {
    this.#clock = clock
    this.#rate = bytesPerSecond / 1000
    this.grain = Math.max(LEAST_GRAIN, Math.floor(this.#rate * GRAIN_MS))
    this.#credit = this.#rate * BURST_MS
    this.#countedAt = clock.now()
  }

  tryTake(bytes: number): boolean {
    if (this.#waiting.length > 0 || this.#owed() > 0) return false
    this.#credit -= bytes
    return true
  }

  charge(bytes: number): void {
    this.#owed()
    this.#credit -= bytes
  }

  async take(bytes: number, { key, signal }: TakeOptions): Promise<void> {
    signal?.throwIfAborted()
    if (this.tryTake(bytes)) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiting = { bytes, turn: this.#turnOf(key, bytes), go: resolve }
    const onAbort = () => {
      const at = this.#waiting.indexOf(waiting)
      if (at >= 0) this.#waiting.splice(at, 1)
      if (this.#waiting.length === 0) this.#sleep?.abort()
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort)
    this.#waiting.push(waiting)
    if (this.#sleep === undefined) void this.#serve()
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** The turn of `key`'s next bytes: after those it was promised, and never before what is served now. */
  #turnOf(key: string, bytes: number): number {
    if (this.#waiting.length === 0) this.#promised.clear()
    if (this.#promised.size >= MAX_KEYS) for (const [other, end] of this.#promised) if (end <= this.#turn) this.#promised.delete(other)
    const turn = Math.max(this.#turn, this.#promised.get(key) ?? 0)
    this.#promised.set(key, turn + bytes)
    return turn
  }

  /** Serves who waits until nobody does. */
  async #serve(): Promise<void> {
    const sleep = new AbortController()
    this.#sleep = sleep
    try {
      while (this.#waiting.length > 0) {
        const owed = this.#owed()
        // Whole milliseconds, as timers count: waking a moment early would only mean to sleep again.
        if (owed > 0) await this.#clock.sleep(Math.ceil(owed / this.#rate), { signal: sleep.signal })
        else this.#serveNext()
      }
    } catch {
      // Everybody who waited has gone.
    } finally {
      this.#sleep = undefined
      if (this.#waiting.length > 0) void this.#serve()
    }
  }

  #serveNext(): void {
    let at = 0
    for (const [i, { turn }] of this.#waiting.entries()) if (turn < (this.#waiting[at]?.turn ?? turn)) at = i
    const [next] = this.#waiting.splice(at, 1)
    if (next === undefined) return
    this.#turn = next.turn
    this.#credit -= next.bytes
    next.go()
  }

  /** Bytes of debt now. */
  #owed(): number {
    const now = this.#clock.now()
    this.#credit = Math.min(this.#rate * BURST_MS, this.#credit + (now - this.#countedAt) * this.#rate)
    this.#countedAt = now
    return Math.max(0, -this.#credit)
  }
}

/** Bytes that must pass every one of `throttles`; undefined for none. */
export function together(...throttles: readonly (Throttle | undefined)[]): Throttle | undefined {
  const all = throttles.filter((throttle) => throttle !== undefined)
  const [first, ...others] = all
  if (first === undefined || others.length === 0) return first
  return {
    grain: Math.min(...all.map(({ grain }) => grain)),
    take: async (bytes, options) => {
      for (const throttle of all) await throttle.take(bytes, options)
    },
    tryTake: (bytes) => {
      const refused = all.findIndex((throttle) => !throttle.tryTake(bytes))
      // What the ones before it have let pass is counted there already.
      if (refused > 0) for (const throttle of all.slice(0, refused)) throttle.charge(-bytes)
      return refused < 0
    },
    charge: (bytes) => {
      for (const throttle of all) throttle.charge(bytes)
    }
  }
}
