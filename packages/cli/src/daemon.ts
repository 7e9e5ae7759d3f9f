import { once } from 'node:events'
import type { Logger } from '@layerswarm/core/log.ts'
import { EXIT_DONE } from './exit.ts'
import { stopSignal } from './signals.ts'

/** Supervisors wait ten seconds before they kill: what has not closed by then is left to the next start. */
const SHUTDOWN_MS = 9_000

/**
 * Runs what `start` gives until SIGTERM or SIGINT, then closes it and ends the process with 0. A second signal ends
 * it at once.
 * @throws what `start` throws
 */
export async function runDaemon(log: Logger, start: () => Promise<AsyncDisposable>): Promise<never> {
  const { signal } = stopSignal()
  signal.addEventListener('abort', () => {
    log.info({ signal: signal.reason.message }, 'stopping')
    setTimeout(() => {
      log.warn('not everything closed in time')
      // What failed meanwhile has set it.
      process.exit(process.exitCode ?? EXIT_DONE)
    }, SHUTDOWN_MS)
  })

  const running = await start()
  if (!signal.aborted) await once(signal, 'abort')
  await running[Symbol.asyncDispose]()
  log.info('stopped')
  process.exit(EXIT_DONE)
}
