import type { Digest } from '@layerswarm/core/digest.ts'
import type { Abortable } from '../ports.ts'

/** How far a blob is that is hashed or fetched. */
export interface BlobProgress {
  readonly digest: Digest
  readonly size: number
  readonly bytes: number
  readonly done: boolean
}

interface Work {
  /** Fires with the caller's, and when nobody reads any more. */
  readonly signal: AbortSignal
  readonly tell: (progress: BlobProgress) => void
}

/**
 * Does work and yields how far it is: of each blob the latest, for whoever reads may be slow. To stop reading ends it.
 * @returns what the work comes to
 * @throws what the work does
 */
export async function* progressOf<T>(
  { signal }: Abortable,
  work: (how: Work) => Promise<T>
): AsyncGenerator<{ readonly progress: BlobProgress }, T> {
  const stop = new AbortController()
  const latest = new Map<Digest, BlobProgress>()
  let news = Promise.withResolvers<void>()
  let ended = false
  const working = work({
    signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]),
    tell: (progress) => {
      latest.set(progress.digest, progress)
      news.resolve()
    }
  })
  const end = (): void => {
    ended = true
    news.resolve()
  }
  working.then(end, end)
  try {
    // What was told last is yielded, too, when the work has ended meanwhile.
    while (!ended || latest.size > 0) {
      await news.promise
      if (!ended) news = Promise.withResolvers<void>()
      for (const [digest, progress] of [...latest]) {
        latest.delete(digest)
        yield { progress }
      }
    }
  } finally {
    stop.abort(new DOMException('nobody reads how far it is', 'AbortError'))
    await working.catch(() => undefined)
  }
  return await working
}
