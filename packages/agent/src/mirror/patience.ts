/**
 * How long a client is kept waiting before its response's headers leave.
 *
 * Most clients wait for ever, so every limit is ours. What is right depends on what the client does with a failure:
 *
 * - containerd (the only one to send `ns`) asks the registry itself, blob by blob, at the cost of milliseconds. It is
 *   sent there when nothing has moved for 5 s. While bytes do arrive, though not yet the first ones, it is worth more
 *   to wait: sent away, it would take the whole blob from the registry a second time. 25 s end that, before the 30 s
 *   after which newer versions give up by themselves.
 * - It cannot go elsewhere in the middle of a blob that it reads in chunks, and podman, skopeo and CRI-O choose their
 *   endpoint once per image: for them a refusal is a failed pull, while the bytes may still come. They wait as long
 *   as anything moves, and a minute when nothing does. Older docker could go elsewhere, with the whole image, but
 *   looks the same from here.
 * - For the first manifest, by tag, every client has the registry to turn to.
 *
 * After the headers a cut is survivable (most resume) and a silent connection is not, so the last limit holds to the
 * end of the body. A client that does not read is not waited for here: its socket has a limit of its own.
 */
import type { Clock } from '@layerswarm/core/clock.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'

export interface Patience {
  /** Milliseconds without progress. */
  readonly quiet: number
  /** Milliseconds until the first byte, progress or not. */
  readonly total: number
}

/** Whether the client can turn to the registry when it is refused now. */
export interface Situation {
  readonly byNamespace: boolean
  /** First byte asked for; beyond 0 the client has begun to rely on this mirror. */
  readonly start: number
}

/** To learn what there is: no client should wait longer for a HEAD. */
export const FIND_MS = 2_500
/** Whether the registry has a blob that is to be pushed: a push that cannot learn it fails, for it has nowhere else to go. */
export const LOOK_MS = 20_000
/** The whole of a manifest, for a client that can turn elsewhere, and for one that cannot. */
export const MANIFEST_MS = { elsewhere: 5_000, nowhere: 30_000 } as const
/** Documents that are passed on from the registry. */
export const DOCUMENT_MS = 5_000
const ELSEWHERE: Patience = { quiet: 5_000, total: 25_000 }
const NOWHERE: Patience = { quiet: 60_000, total: Number.POSITIVE_INFINITY }
/** How often progress is looked at. */
const STEP_MS = 500

export function patienceWith({ byNamespace, start }: Situation): Patience {
  return byNamespace && start === 0 ? ELSEWHERE : NOWHERE
}

export interface WatchDeps {
  readonly clock: Clock
  /** Any number that changes when something moves. */
  readonly progress: () => number
  /** The client's: it ends the watch. */
  readonly signal: AbortSignal
}

/** Aborts its signal when the client goes, or with STALLED when patience ends. Disposing ends the watch. */
export class Watch implements Disposable {
  readonly #deps: WatchDeps
  readonly #stop = new AbortController()
  readonly #ended = new AbortController()
  readonly #follow: () => void
  #patience: Patience
  #held = false

  constructor(deps: WatchDeps, patience: Patience) {
    this.#deps = deps
    this.#patience = patience
    this.#follow = () => this.#stop.abort(deps.signal.reason)
    if (deps.signal.aborted) this.#follow()
    deps.signal.addEventListener('abort', this.#follow, { once: true })
    void this.#run()
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** The first byte is in hand. */
  begun(): void {
    this.#patience = NOWHERE
  }

  /** The client is being waited for: that is no stall of ours. */
  async hold<T>(wait: Promise<T>): Promise<T> {
    this.#held = true
    try {
      return await wait
    } finally {
      this.#held = false
    }
  }

  [Symbol.dispose](): void {
    this.#deps.signal.removeEventListener('abort', this.#follow)
    this.#ended.abort()
  }

  async #run(): Promise<void> {
    const { clock, progress } = this.#deps
    const started = clock.now()
    let seen = progress()
    let movedAt = started
    while (await this.#step()) {
      const now = clock.now()
      if (this.#held || progress() !== seen) movedAt = now
      seen = progress()
      if (now - movedAt >= this.#patience.quiet || now - started >= this.#patience.total) {
        this.#stop.abort(new LayerswarmError('STALLED', { detail: `after ${Math.round((now - started) / 1000)} s` }))
        return
      }
    }
  }

  async #step(): Promise<boolean> {
    await this.#deps.clock.sleep(STEP_MS, { signal: this.#ended.signal }).catch(() => undefined)
    return !this.#ended.signal.aborted && !this.#stop.signal.aborted
  }
}
