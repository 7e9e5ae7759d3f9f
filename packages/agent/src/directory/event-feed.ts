import type { Abortable, DirectoryEvent } from '../ports.ts'

/** Events that may wait for one reader. A tracker that says more while nobody reads is not worth the memory. */
const MAX_WAITING = 10_000

interface Reader {
  readonly waiting: DirectoryEvent[]
  wake: () => void
}

/** What the tracker says, for any number of readers, each from its call on. */
export class EventFeed {
  readonly #readers = new Set<Reader>()

  publish(event: DirectoryEvent): void {
    for (const reader of this.#readers) {
      if (reader.waiting.length >= MAX_WAITING) reader.waiting.shift()
      reader.waiting.push(event)
      reader.wake()
    }
  }

  /** @throws the signal's reason */
  subscribe({ signal }: Abortable = {}): AsyncGenerator<DirectoryEvent> {
    const reader: Reader = { waiting: [], wake: () => undefined }
    this.#readers.add(reader)
    return this.#follow(reader, signal)
  }

  async *#follow(reader: Reader, signal: AbortSignal | undefined): AsyncGenerator<DirectoryEvent> {
    const onAbort = (): void => reader.wake()
    signal?.addEventListener('abort', onAbort)
    try {
      while (true) {
        signal?.throwIfAborted()
        const event = reader.waiting.shift()
        if (event !== undefined) yield event
        else await new Promise<void>((resolve) => (reader.wake = resolve))
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#readers.delete(reader)
    }
  }
}
