/** Waits for work that goes on without whoever waits. @throws the signal's reason */
export async function until(work: Promise<void> | undefined, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return await work
  const { promise, reject } = Promise.withResolvers<never>()
  const stop = (): void => reject(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  try {
    signal.throwIfAborted()
    await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
