import type { Clock } from '@layerswarm/core/clock.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import type { Logger } from 'pino'
import type { FsBlobStore } from './fs-blob-store.ts'

/** What is forgotten has not been asked for in weeks: once a day is often enough, and seldom enough to read all of it. */
const EVERY_MS = 24 * 3600 * 1000

export interface UpkeepDeps {
  readonly store: Pick<FsBlobStore, 'forgetUnused'>
  readonly clock: Clock
  readonly log: Pick<Logger, 'warn'>
}

/** Keeps the store's index from growing for as long as a daemon runs. Disposing waits for what is under way. */
export class Upkeep implements AsyncDisposable {
  readonly #deps: UpkeepDeps
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  constructor(deps: UpkeepDeps) {
    this.#deps = deps
    this.#running = this.#run()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { store, clock, log } = this.#deps
    const { signal } = this.#stop
    for (;;) {
      await clock.sleep(EVERY_MS, { signal }).catch(() => undefined)
      if (signal.aborted) return
      try {
        await store.forgetUnused({ signal })
      } catch (error) {
        log.warn({ error: describeError(error) }, 'the index of the store could not be cleared of what nobody uses')
      }
    }
  }
}
