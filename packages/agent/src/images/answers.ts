import type { Clock } from '@layerswarm/core/clock.ts'
import type { Abortable } from '../ports.ts'

interface Running<T> {
  readonly result: Promise<T>
  readonly stop: AbortController
  waiting: number
}

export interface AnswersOptions<T> {
  /** How long an answer holds, in milliseconds; 0: only callers at the same time share it. */
  readonly ttl: (value: T) => number
  /** Answers kept; the oldest go first. */
  readonly max: number
}

/**
 * Answers by key: asked for once by however many callers at a time, and kept for a while. Failures are not kept. A
 * caller that gives up leaves the others waiting; the work is aborted when the last one has gone.
 */
export class Answers<T> {
  readonly #clock: Clock
  readonly #options: AnswersOptions<T>
  readonly #running = new Map<string, Running<T>>()
  readonly #kept = new Map<string, { value: T; until: number }>()

  constructor(deps: { readonly clock: Clock }, options: AnswersOptions<T>) {
    this.#clock = deps.clock
    this.#options = options
  }

  async get(key: string, work: (signal: AbortSignal) => Promise<T>, options: Abortable = {}): Promise<T> {
    options.signal?.throwIfAborted()
    const kept = this.#kept.get(key)
    if (kept !== undefined) {
      if (this.#clock.now() < kept.until) return kept.value
      this.#kept.delete(key)
    }
    const running = this.#running.get(key) ?? this.#start(key, work)
    return await this.#wait(key, running, options.signal)
  }

  /** The next to ask gets a new answer; one that is under way is for those who wait for it. */
  forget(key: string): void {
    this.#kept.delete(key)
    this.#running.delete(key)
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<T>): Running<T> {
    const stop = new AbortController()
    const running: Running<T> = { result: this.#run(key, work, stop), stop, waiting: 0 }
    this.#running.set(key, running)
    return running
  }

  async #run(key: string, work: (signal: AbortSignal) => Promise<T>, stop: AbortController): Promise<T> {
    try {
      const value = await work(stop.signal)
      const ttl = this.#options.ttl(value)
      if (ttl > 0 && this.#running.get(key)?.stop === stop) this.#keep(key, value, ttl)
      return value
    } finally {
      if (this.#running.get(key)?.stop === stop) this.#running.delete(key)
    }
  }

  #keep(key: string, value: T, ttl: number): void {
    this.#kept.delete(key)
    this.#kept.set(key, { value, until: this.#clock.now() + ttl })
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#options.max) break
      this.#kept.delete(oldest)
    }
  }

  async #wait(key: string, running: Running<T>, signal: AbortSignal | undefined): Promise<T> {
    running.waiting++
    const gaveUp = Promise.withResolvers<never>()
    const onAbort = () => gaveUp.reject(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([running.result, gaveUp.promise])
    } finally {
      signal?.removeEventListener('abort', onAbort)
      running.waiting--
      if (running.waiting === 0 && this.#running.get(key) === running) {
        this.#running.delete(key)
        running.stop.abort(signal?.reason)
      }
    }
  }
}
