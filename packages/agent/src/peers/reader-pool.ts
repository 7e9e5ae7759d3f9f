import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { BlobReader, BlobStore } from '../ports.ts'

/** How long a reader is kept for the next request, ms: it keeps its blob from eviction for so long. */
const IDLE_MS = 2000
/** Readers kept open while nobody uses them. */
const MAX_IDLE = 64

interface Entry {
  readonly opening: Promise<BlobReader | undefined>
  users: number
  idleSince: number
}

/** Readers of the blobs that are being served, so that a piece does not cost an opening. */
export class ReaderPool implements AsyncDisposable {
  readonly #store: Pick<BlobStore, 'open'>
  readonly #clock: Clock
  readonly #entries = new Map<Digest, Entry>()
  readonly #stop = new AbortController()
  #sweeping = false

  constructor(deps: { readonly store: Pick<BlobStore, 'open'>; readonly clock: Clock }) {
    this.#store = deps.store
    this.#clock = deps.clock
  }

  /**
   * Runs `work` on a reader of `digest`, undefined when the blob is not here.
   * @throws what `work` or the store throws
   */
  async use<T>(digest: Digest, work: (reader: BlobReader | undefined) => Promise<T>): Promise<T> {
    const entry = this.#entries.get(digest) ?? this.#open(digest)
    entry.users++
    try {
      return await work(await entry.opening)
    } finally {
      entry.users--
      entry.idleSince = this.#clock.now()
      this.#sweepLater()
    }
  }

  /** The blob began, was committed or went: what was found out about it before counts no more. */
  forget(digest: Digest): void {
    const entry = this.#entries.get(digest)
    if (entry?.users === 0) this.#close(digest, entry).catch(() => undefined)
  }

  #open(digest: Digest): Entry {
    const opening = this.#store.open(digest)
    const entry: Entry = { opening, users: 0, idleSince: this.#clock.now() }
    this.#entries.set(digest, entry)
    // Nothing found, or not readable: the next request looks again.
    const drop = () => this.#entries.get(digest) === entry && this.#entries.delete(digest)
    opening.then((reader) => reader === undefined && drop(), drop)
    return entry
  }

  #sweepLater(): void {
    if (this.#sweeping || this.#stop.signal.aborted) return
    this.#sweeping = true
    this.#sweep()
      .catch(() => undefined)
      .finally(() => {
        this.#sweeping = false
        if (this.#entries.size > 0) this.#sweepLater()
      })
  }

  async #sweep(): Promise<void> {
    while (this.#entries.size > 0) {
      await this.#clock.sleep(IDLE_MS, { signal: this.#stop.signal })
      const idle = [...this.#entries].filter(([, { users }]) => users === 0)
      const surplus = idle.length - MAX_IDLE
      for (const [at, [digest, entry]] of idle.entries()) {
        // Somebody may have come for it while another was being closed.
        if (entry.users > 0) continue
        if (at < surplus || this.#clock.now() - entry.idleSince >= IDLE_MS) await this.#close(digest, entry)
      }
    }
  }

  async #close(digest: Digest, entry: Entry): Promise<void> {
    if (this.#entries.get(digest) === entry) this.#entries.delete(digest)
    const reader = await entry.opening.catch(() => undefined)
    await reader?.[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.all([...this.#entries].map(([digest, entry]) => this.#close(digest, entry)))
  }
}
