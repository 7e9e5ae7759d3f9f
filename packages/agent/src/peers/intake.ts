import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import type { Throttle } from '@layerswarm/core/rate-limiter.ts'

/** Bytes that came. */
export interface Portion {
  readonly bytes: number
  /** Whose share of the limit they take. */
  readonly key: string
  /** Told as the limit lets them pass, a part at a time. */
  readonly onPassed: (bytes: number) => void
  /** All of them have passed. */
  readonly onDone: (() => void) | undefined
}

export interface IntakeDeps {
  readonly throttle: Throttle
  readonly stream: Pick<FramedStream, 'pause' | 'resume'>
  /** Nobody waits for the rest any more. */
  readonly signal: AbortSignal
}

/**
 * Lets what one stream brings pass a limit, in the order in which it came. Bytes cannot be refused once they are here,
 * so the stream rests until they have passed; its sender then stands still once the stream's window is used up.
 */
export class Intake {
  readonly #deps: IntakeDeps
  readonly #waiting: Portion[] = []

  constructor(deps: IntakeDeps) {
    this.#deps = deps
  }

  take(portion: Portion): void {
    const { throttle } = this.#deps
    if (this.#waiting.length === 0 && throttle.tryTake(portion.bytes)) {
      portion.onPassed(portion.bytes)
      portion.onDone?.()
      return
    }
    this.#waiting.push(portion)
    if (this.#waiting.length === 1) void this.#letPass()
  }

  async #letPass(): Promise<void> {
    const { throttle, stream, signal } = this.#deps
    stream.pause()
    try {
      for (let portion = this.#waiting[0]; portion !== undefined; portion = this.#waiting[0]) {
        for (let left = portion.bytes; left > 0; ) {
          const part = Math.min(left, throttle.grain)
          await throttle.take(part, { key: portion.key, signal })
          left -= part
          portion.onPassed(part)
        }
        portion.onDone?.()
        this.#waiting.shift()
      }
      stream.resume()
    } catch {
      // The signal fired: whoever waited for these bytes has been told.
    }
  }
}
