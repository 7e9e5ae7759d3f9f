import type { Clock } from './clock.ts'

export interface Deadline {
  readonly clock: Clock
  /** Milliseconds. */
  readonly ms: number
  /** What is thrown when the time is over. */
  readonly late: () => Error
  /** The caller's own: it ends the wait at once. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Runs `work` for at most `ms`. When the time is over, or the caller's signal fires, the signal given to `work` fires
 * and the reason is thrown at once, whether or not `work` listens.
 * @throws what `late` makes, the caller's reason, or what `work` throws
 */
export async function within<T>(deadline: Deadline, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { clock, ms, late, signal } = deadline
  signal?.throwIfAborted()
  const limit = new AbortController()
  const done = new AbortController()
  const stop = () => limit.abort(signal?.reason)
  signal?.addEventListener('abort', stop, { once: true })
  const stopped = new Promise<never>((_resolve, reject) => {
    limit.signal.addEventListener('abort', () => reject(limit.signal.reason), { once: true })
  })
  clock.sleep(ms, { signal: done.signal }).then(
    () => limit.abort(late()),
    () => undefined
  )
  try {
    return await Promise.race([work(limit.signal), stopped])
  } finally {
    done.abort()
    signal?.removeEventListener('abort', stop)
  }
}
