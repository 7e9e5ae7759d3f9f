import type { Clock } from './clock.ts'

/** What may pass at once after a pause, in ms of the rate. */
const BURST_MS = 30
/** What is taken at a time, in ms of the rate, so that bytes flow evenly and everybody's turn comes soon. */
const GRAIN_MS = 15
/** On a busy machine timers fire late. What somebody waited for too long is made up for, up to so much of the rate, ms. */
const LATE_MS = 250
/** But no second brings more than this many times the rate. */
const SECOND_MS = 1000
const MOST_IN_A_SECOND = 1.04
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
  /** What passed within the last second, oldest first, and the sum of it. */
  readonly #passed: { readonly at: number; bytes: number }[] = []
  #inASecond = 0
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
    if (this.#waiting.length > 0 || this.#delay(bytes) > 0) return false
    this.charge(bytes)
    return true
  }

  charge(bytes: number): void {
    const now = this.#count()
    this.#credit -= bytes
    this.#inASecond += bytes
    const last = this.#passed.at(-1)
    if (last !== undefined && now - last.at < 1) last.bytes += bytes
    else this.#passed.push({ at: now, bytes })
  }

  async take(bytes: number, { key, signal }: TakeOptions): Promise<void> {
    signal?.throwIfAborted()
    if (this.tryTake(bytes)) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiting = { bytes, turn: this.#turnOf(key, bytes), go: resolve }
    const onAbort = () => {
      const at = this.#waiting.indexOf(waiting)
      if (at >= 0) {
        this.#waiting.splice(at, 1)
        // It got nothing for them, so its next bytes need not come after them.
        this.#promised.set(key, (this.#promised.get(key) ?? 0) - bytes)
      }
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
      for (let next = this.#next(); next !== undefined; next = this.#next()) {
        const delay = this.#delay(next.bytes)
        // Whole milliseconds, as timers count: waking a moment early would only mean to sleep again.
        if (delay > 0) await this.#clock.sleep(Math.ceil(delay), { signal: sleep.signal })
        else this.#serveOne(next)
      }
    } catch {
      // Everybody who waited has gone.
    } finally {
      this.#sleep = undefined
      if (this.#waiting.length > 0) void this.#serve()
    }
  }

  #next(): Waiting | undefined {
    let next = this.#waiting[0]
    for (const waiting of this.#waiting) if (next !== undefined && waiting.turn < next.turn) next = waiting
    return next
  }

  #serveOne(waiting: Waiting): void {
    this.charge(waiting.bytes)
    this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
    this.#turn = waiting.turn
    waiting.go()
  }

  /** How long `bytes` have to wait, ms. */
  #delay(bytes: number): number {
    const now = this.#count()
    const most = this.#rate * SECOND_MS * MOST_IN_A_SECOND
    const [oldest] = this.#passed
    const full = oldest !== undefined && this.#inASecond + Math.min(bytes, this.grain) > most
    return Math.max(-this.#credit / this.#rate, full ? oldest.at + SECOND_MS - now : 0)
  }

  /** Brings credit and the last second up to date. @returns now */
  #count(): number {
    const now = this.#clock.now()
    const elapsed = now - this.#countedAt
    this.#countedAt = now
    const most = this.#rate * (this.#waiting.length > 0 ? LATE_MS : BURST_MS)
    const grown = this.#credit + elapsed * this.#rate
    // What was late stays due through a moment in which nobody waits, but not for ever.
    this.#credit = elapsed < SECOND_MS ? Math.max(this.#credit, Math.min(most, grown)) : Math.min(most, grown)
    for (let oldest = this.#passed[0]; oldest !== undefined && now - oldest.at >= SECOND_MS; oldest = this.#passed[0]) {
      this.#inASecond -= oldest.bytes
      this.#passed.shift()
    }
    return now
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
