/** What one side says and others hear: every listener gets what is published from its first read on. */
export class Feed<T> {
  readonly #listeners = new Set<{ readonly queue: T[]; wake: () => void }>()

  publish(value: T): void {
    for (const listener of this.#listeners) {
      listener.queue.push(value)
      listener.wake()
    }
  }

  /** @param first what this listener hears before all else */
  async *listen({ signal, first = [] }: { signal?: AbortSignal; first?: readonly T[] } = {}): AsyncGenerator<T> {
    const listener = { queue: [...first], wake: () => {} }
    const onAbort = () => listener.wake()
    this.#listeners.add(listener)
    signal?.addEventListener('abort', onAbort)
    try {
      while (true) {
        signal?.throwIfAborted()
        if (listener.queue.length > 0) yield listener.queue.shift() as T
        else {
          await new Promise<void>((resolve) => {
            listener.wake = resolve
          })
        }
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#listeners.delete(listener)
    }
  }
}
