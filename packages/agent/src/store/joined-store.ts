import type { Digest } from '@layerswarm/core/digest.ts'
import type { PieceLayout } from '@layerswarm/core/piece-layout.ts'
import type { Abortable, BlobReader, BlobStat, BlobStore, HoldingChange, PartialBlob } from '../ports.ts'

/** A store with a bound that it keeps. */
type Bounded = BlobStore & {
  evict(options?: Abortable): Promise<readonly Digest[]>
  usage(): { readonly complete: number; readonly partial: number }
  readonly maxBytes: number
}

type Readable = Pick<BlobStore, 'stat' | 'open' | 'list' | 'verify' | 'changes'> &
  AsyncDisposable & { corrupt(): Iterable<{ readonly digest: Digest; readonly size: number }> }

/**
 * A store, and complete blobs that are read elsewhere on this host, as one store. Writing and removing concern the store
 * alone. A blob is removed for those who follow only when it is at neither place.
 */
export class JoinedStore implements BlobStore {
  readonly #own: Bounded
  readonly #beside: Readable

  constructor(own: Bounded, beside: Readable) {
    this.#own = own
    this.#beside = beside
  }

  async stat(digest: Digest): Promise<BlobStat | undefined> {
    const own = await this.#own.stat(digest)
    const beside = await this.#beside.stat(digest)
    if (beside === undefined) return own
    return own?.state === 'complete' ? { ...own, places: ['store', 'containerd'] } : { ...beside, places: ['containerd'] }
  }

  async open(digest: Digest): Promise<BlobReader | undefined> {
    const own = await this.#own.open(digest)
    if (own?.complete === true) return own
    const beside = await this.#beside.open(digest)
    if (beside === undefined) return own
    await own?.[Symbol.asyncDispose]()
    return beside
  }

  begin(digest: Digest, layout: PieceLayout): Promise<PartialBlob> {
    return this.#own.begin(digest, layout)
  }

  delete(digest: Digest): Promise<boolean> {
    return this.#own.delete(digest)
  }

  async *list(): AsyncGenerator<BlobStat> {
    for await (const blob of this.#own.list()) {
      const beside = await this.#beside.stat(blob.digest)
      if (beside === undefined) yield blob
      else if (blob.state === 'complete') yield { ...blob, places: ['store', 'containerd'] }
    }
    for await (const blob of this.#beside.list()) {
      if ((await this.#own.stat(blob.digest))?.state !== 'complete') yield { ...blob, places: ['containerd'] }
    }
  }

  /** Proves it at each place where it is. @returns false where one of them failed */
  async verify(digest: Digest, options: Parameters<BlobStore['verify']>[1] = {}): Promise<boolean | undefined> {
    const own = await this.#own.verify(digest, options)
    const beside = await this.#beside.verify(digest, options)
    if (own === false || beside === false) return false
    return own ?? beside
  }

  /** Blobs that were found corrupt elsewhere, whether or not the store has them too. */
  corrupt(): Iterable<{ readonly digest: Digest; readonly size: number }> {
    return this.#beside.corrupt()
  }

  changes(options: Abortable = {}): AsyncIterable<HoldingChange> {
    const stop = new AbortController()
    const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal])
    // Both feeds begin now, not when the first change is asked for.
    return this.#merged([this.#own.changes({ signal }), this.#beside.changes({ signal })], stop)
  }

  /** See the store's own; what lies elsewhere takes nothing of its bound. */
  evict(options: Abortable = {}): Promise<readonly Digest[]> {
    return this.#own.evict(options)
  }

  /** Verified bytes in the store itself, by state. */
  usage(): { readonly complete: number; readonly partial: number } {
    return this.#own.usage()
  }

  /** Bound on the bytes of the store itself. */
  get maxBytes(): number {
    return this.#own.maxBytes
  }

  /** Disposes both. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#beside[Symbol.asyncDispose]()
    await this.#own[Symbol.asyncDispose]()
  }

  async *#merged(feeds: readonly AsyncIterable<HoldingChange>[], stop: AbortController): AsyncGenerator<HoldingChange> {
    const iterators = feeds.map((feed) => feed[Symbol.asyncIterator]())
    const next = (at: number) => {
      const pending = Promise.resolve(iterators[at]?.next()).then((result) => ({ at, result }))
      // It may fail while the consumer is busy with a change, when nobody waits for it yet.
      pending.catch(() => undefined)
      return pending
    }
    const waiting = new Map(iterators.map((_, at) => [at, next(at)]))
    try {
      while (waiting.size > 0) {
        const { at, result } = await Promise.race(waiting.values())
        if (result?.done !== false) {
          waiting.delete(at)
          continue
        }
        waiting.set(at, next(at))
        yield await this.#asJoined(result.value)
      }
    } finally {
      stop.abort(new Error('nobody follows'))
    }
  }

  /** What one place tells, as things stand for both now: a later change of either comes later. */
  async #asJoined(change: HoldingChange): Promise<HoldingChange> {
    if (change.change === 'started') return change
    const held = (await this.stat(change.digest))?.state === 'complete'
    return { ...change, change: held ? 'added' : 'removed' }
  }
}
