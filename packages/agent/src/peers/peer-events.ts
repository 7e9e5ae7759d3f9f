import type { Abortable, PeerEvent } from '../ports.ts'

interface Subscriber {
  readonly events: PeerEvent[]
  /** Watches that wait to be taken: saying one again adds nothing. */
  readonly watches: Set<string>
  wake: () => void
}

/** Tells any number of takers what happens to the neighbours. */
export class PeerEvents {
  readonly #subscribers = new Set<Subscriber>()

  publish(event: PeerEvent): void {
    for (const { events, watches, wake } of this.#subscribers) {
      if (event.type === 'watched') {
        const key = keyOf(event)
        if (watches.has(key)) continue
        watches.add(key)
      }
      events.push(event)
      wake()
    }
  }

  /** Events from this call on. @throws the signal's reason */
  subscribe(options: Abortable = {}): AsyncGenerator<PeerEvent> {
    const subscriber: Subscriber = { events: [], watches: new Set(), wake: () => undefined }
    this.#subscribers.add(subscriber)
    return this.#take(subscriber, options)
  }

  async *#take(subscriber: Subscriber, { signal }: Abortable): AsyncGenerator<PeerEvent> {
    const onAbort = () => subscriber.wake()
    signal?.addEventListener('abort', onAbort)
    try {
      while (true) {
        signal?.throwIfAborted()
        const event = subscriber.events.shift()
        if (event === undefined) {
          await new Promise<void>((resolve) => (subscriber.wake = resolve))
          continue
        }
        if (event.type === 'watched') subscriber.watches.delete(keyOf(event))
        yield event
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#subscribers.delete(subscriber)
    }
  }
}

function keyOf({ peer, blob }: PeerEvent & { type: 'watched' }): string {
  return `${peer} ${blob}`
}
