import { format } from 'node:util'
import type { ComponentLogger, Logger as Libp2pLogger } from '@libp2p/interface'
import type { Logger } from 'pino'

/**
 * libp2p's log, which tells of every frame, in ours: its errors as `debug` (a peer that hangs up is an everyday event,
 * and what matters of it is told by our own lines), all else as `trace`. Costs one comparison while these levels are off.
 */
export function libp2pLog(log: Logger): ComponentLogger {
  return { forComponent: (name) => scoped(log, name) }
}

function scoped(log: Logger, component: string): Libp2pLogger {
  const trace = (formatter: unknown, ...args: unknown[]) => {
    if (log.isLevelEnabled('trace')) log.trace({ component }, text(formatter, args))
  }
  const error = (formatter: unknown, ...args: unknown[]) => {
    if (log.isLevelEnabled('debug')) log.debug({ component }, text(formatter, args))
  }
  return Object.assign(trace, { trace, error, enabled: true, newScope: (name: string) => scoped(log, `${component}:${name}`) })
}

/** libp2p has placeholders of its own: %e error, %p peer, %a address, and a few for encodings. */
function text(formatter: unknown, args: readonly unknown[]): string {
  if (typeof formatter !== 'string') return format(formatter, ...args)
  return format(formatter.replaceAll(/%[abekpt]/g, '%s'), ...args.map((arg) => (arg instanceof Error ? arg.message : arg)))
}
