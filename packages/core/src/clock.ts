import { setTimeout as delay } from 'node:timers/promises'

/** Time as an input, so that tests and the simulator can own it. */
export interface Clock {
  /** Milliseconds on a scale that never goes back; only differences mean anything. */
  now(): number
  /** @throws the signal's reason when it fires first. */
  sleep(ms: number, options?: { signal?: AbortSignal }): Promise<void>
}

export const systemClock: Clock = {
  now: () => performance.now(),
  sleep: async (ms, options = {}) => {
    await delay(ms, undefined, options).catch((error: unknown) => {
      throw options.signal?.aborted ? options.signal.reason : error
    })
  }
}
