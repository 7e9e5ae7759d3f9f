/** Ctrl-C reaches a process from the terminal and again from each wrapper that passes it on, such as npx. */
const SAME_SIGNAL_MS = 300
/** 128 + SIGINT: what shells report for an interrupted program. */
export const EXIT_INTERRUPTED = 130

/** Fires on SIGTERM or SIGINT; a second one ends the process at once. Disposing stops listening. */
export interface StopSignal extends Disposable {
  readonly signal: AbortSignal
}

export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

export function stopSignal(): StopSignal {
  const controller = new AbortController()
  let firstAt: number | undefined
  const onSignal = (signal: NodeJS.Signals): void => {
    const now = performance.now()
    if (firstAt !== undefined && now - firstAt >= SAME_SIGNAL_MS) process.exit(EXIT_INTERRUPTED)
    firstAt ??= now
    controller.abort(new Interrupted(signal))
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      process.off('SIGTERM', onSignal)
      process.off('SIGINT', onSignal)
    }
  }
}
