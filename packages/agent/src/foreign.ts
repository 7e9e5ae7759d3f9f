import { describeError } from '@layerswarm/core/errors.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { ForeignImages } from './images/foreign-images.ts'
import type { ForeignContent } from './ports.ts'
import type { ForeignStore } from './store/foreign-store.ts'
import type { Ingested } from './store/ingested.ts'

export interface SharingParts {
  readonly content: ForeignContent
  readonly store: Pick<ForeignStore, 'update'>
  readonly images: Pick<ForeignImages, 'update' | 'follow'>
  /** Removes copies that are not needed beside it, where that is wanted. */
  readonly ingested: Pick<Ingested, 'look' | 'run'> | undefined
  readonly log: Logger
}

/** Shares another program's content, as it changes, until it is disposed. */
export function shareForeign({ content, store, images, ingested, log }: SharingParts): AsyncDisposable {
  const stop = new AbortController()
  const { signal } = stop
  const files = async (): Promise<void> => {
    for await (const state of content.states({ signal })) {
      store.update(state)
      await images.update(state.images)
      ingested?.look()
    }
  }
  const ended = Promise.all(
    [files(), images.follow({ signal }), ingested?.run(signal)].map((work) =>
      work?.catch((error: unknown) => {
        if (!signal.aborted) log.error({ error: describeError(error) }, 'content of another program is followed no longer')
      })
    )
  )
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('the agent is stopping'))
      await ended
    }
  }
}
