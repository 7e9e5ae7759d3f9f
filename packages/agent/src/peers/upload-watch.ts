import type { Clock } from '@layerswarm/core/clock.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import { type Outflow, takenBetween } from '@layerswarm/core/p2p/outflow.ts'

/** Without progress for so long, an upload is blocked by its receiver and frees its place, ms. */
export const BLOCKED_AFTER_MS = 500
/** Without progress for so long, its stream is reset, ms: a receiver that lives has asked elsewhere long ago. */
export const DEAD_AFTER_MS = 30_000
/** How often progress is looked at, ms. */
const LOOK_MS = 100

/** An upload under way, as far as it may stand still. */
export interface Progress {
  readonly stream: Pick<FramedStream, 'abort' | 'outflow'>
  /** When bytes of it last left its stream. */
  progressAt: number
  /** What had become of the connection's bytes when it was last looked at. */
  outflow?: Outflow | undefined
  /** When bytes that were on their way were last taken, by the other end of the connection. */
  movedAt?: number
  blocked: boolean
  /** It waits for this host's own limit: the receiver has nothing to answer for. */
  held: boolean
}

export interface UploadWatchDeps {
  readonly clock: Clock
  readonly active: ReadonlySet<Progress>
  /** Told after each look: places may have become free. */
  readonly onLook: () => void
  /** Nothing is uploaded any more. */
  readonly signal: AbortSignal
}

/** Looks for uploads without progress, as long as there are any. */
export class UploadWatch {
  readonly #deps: UploadWatchDeps
  #watching = false

  constructor(deps: UploadWatchDeps) {
    this.#deps = deps
  }

  /** To be called when an upload begins. */
  start(): void {
    const { signal, active } = this.#deps
    if (this.#watching || signal.aborted) return
    this.#watching = true
    this.#look()
      // Ends early only when all is closed.
      .catch(() => undefined)
      .finally(() => {
        this.#watching = false
        if (active.size > 0) this.start()
      })
  }

  async #look(): Promise<void> {
    const { clock, active, onLook, signal } = this.#deps
    while (active.size > 0) {
      await clock.sleep(LOOK_MS, { signal })
      const now = clock.now()
      for (const upload of active) lookAt(upload, now)
      onLook()
    }
  }
}

function lookAt(upload: Progress, now: number): void {
  if (upload.held) return
  const before = upload.outflow
  upload.outflow = upload.stream.outflow
  // A stream gives away as much at once as a slow link takes minutes for.
  if (takenBetween(before, upload.outflow) > 0) upload.movedAt = now
  const idle = now - upload.progressAt
  if (idle >= DEAD_AFTER_MS && now - (upload.movedAt ?? 0) >= DEAD_AFTER_MS)
    upload.stream.abort(new LayerswarmError('PEER_UNREACHABLE', { detail: 'the peer takes nothing of what it asked for' }))
  else if (idle >= BLOCKED_AFTER_MS) upload.blocked = true
}
