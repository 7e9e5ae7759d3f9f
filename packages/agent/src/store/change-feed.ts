import type { Digest } from '@layerswarm/core/digest.ts'
import type { Abortable, HoldingChange } from '../ports.ts'

interface Subscriber {
  /** The last change of each blob that was not taken yet: a slow reader costs no more than there are blobs. */
  readonly pending: Map<Digest, HoldingChange>
  wake: () => void
}

/** Tells any number of readers what was committed and removed. */
export class ChangeFeed {
  readonly #subscribers = new Set<Subscriber>()
  #closed = false

  publish(change: HoldingChange): void {
    for (const subscriber of this.#subscribers) {
      subscriber.pending.delete(change.digest)
      subscriber.pending.set(change.digest, change)
      subscriber.wake()
    }
  }

  /** Changes from this call on. Ends when the feed is closed. @throws the signal's reason */
  subscribe(options: Abortable = {}): AsyncGenerator<HoldingChange> {
    const subscriber: Subscriber = { pending: new Map(), wake: () => {} }
    this.#subscribers.add(subscriber)
    return this.#follow(subscriber, options)
  }

  close(): void {
    this.#closed = true
    for (const subscriber of this.#subscribers) subscriber.wake()
  }

  async *#follow(subscriber: Subscriber, { signal }: Abortable): AsyncGenerator<HoldingChange> {
    const onAbort = (): void => subscriber.wake()
    signal?.addEventListener('abort', onAbort)
    try {
      while (true) {
        signal?.throwIfAborted()
        const [change] = subscriber.pending.values()
        if (change !== undefined) {
          subscriber.pending.delete(change.digest)
          yield change
        } else if (this.#closed) return
        else await new Promise<void>((resolve) => (subscriber.wake = resolve))
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#subscribers.delete(subscriber)
    }
  }
}
