import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { Nudge } from '@layerswarm/core/nudge.ts'
import type { Logger } from 'pino'
import type { BlobStore } from '../ports.ts'
import type { ForeignStore } from './foreign-store.ts'

/** What somebody still reads goes after that; a fetch lingers for half a minute. */
const RETRY_MS = 5_000
/** In case that a change was told by nobody. */
const ANYHOW_MS = 5 * 60_000

export interface IngestedDeps {
  readonly store: Pick<BlobStore, 'list' | 'delete' | 'changes'>
  readonly foreign: Pick<ForeignStore, 'keeps' | 'changes'>
  readonly clock: Clock
  readonly log: Pick<Logger, 'info' | 'debug'>
}

/**
 * Lets the store's copy of a blob go once another program on this host keeps the same for an image, and that is proven:
 * then a host pays for each byte once. What the other program holds only for the time of a pull stays here.
 */
export class Ingested {
  readonly #deps: IngestedDeps
  readonly #changed: Nudge

  constructor(deps: IngestedDeps) {
    this.#deps = deps
    this.#changed = new Nudge(deps.clock)
  }

  /** What the other program keeps may have changed. */
  look(): void {
    this.#changed.nudge()
  }

  /** Works until the signal fires. @throws its reason */
  async run(signal: AbortSignal): Promise<void> {
    const { foreign, store } = this.#deps
    await Promise.all([this.#follow(foreign.changes({ signal })), this.#follow(store.changes({ signal })), this.#work(signal)])
  }

  async #follow(changes: ReturnType<BlobStore['changes']>): Promise<void> {
    for await (const { change } of changes) if (change === 'added') this.look()
  }

  async #work(signal: AbortSignal): Promise<void> {
    while (true) {
      const left = await this.#letGo().catch((error: unknown) => {
        this.#deps.log.debug({ error: describeError(error) }, 'copies of what containerd keeps could not be removed')
        return true
      })
      await this.#changed.next(left ? RETRY_MS : ANYHOW_MS, signal)
    }
  }

  /** @returns whether some of it is still in use */
  async #letGo(): Promise<boolean> {
    const { store, foreign, log } = this.#deps
    const gone: Digest[] = []
    let left = false
    for await (const { digest, state } of store.list()) {
      if (state !== 'complete' || !(await foreign.keeps(digest))) continue
      if (await store.delete(digest)) gone.push(digest)
      else left = true
    }
    if (gone.length > 0) log.info({ blobs: gone.length }, 'copies of what containerd keeps are removed')
    return left
  }
}
