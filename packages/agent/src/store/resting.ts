import type { Clock } from '@layerswarm/core/clock.ts'

/**
 * To be called between steps of long work: rests so many times as long as the step took.
 * @param hurry whether somebody waits, so that there is no rest now
 * @throws the signal's reason
 */
export function resting(clock: Clock, times: number, signal: AbortSignal, hurry: () => boolean = () => false): () => Promise<void> {
  let since = clock.now()
  return async () => {
    const rest = hurry() ? 0 : (clock.now() - since) * times
    if (rest > 0) await clock.sleep(rest, { signal })
    since = clock.now()
  }
}
