import { type Bindings, type DestinationStream, destination as fileDestination, type Logger, pino, stdTimeFunctions } from 'pino'
import pretty from 'pino-pretty'
import { describeError, LayerswarmError } from './errors.ts'
import { withoutSecrets } from './secrets.ts'

export type { Logger } from 'pino'

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export const LOG_FORMATS = ['json', 'pretty'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

export interface LogOptions {
  readonly level?: LogLevel
  readonly format?: LogFormat
  /** Which daemon speaks, in every line. */
  readonly name?: string
  /** Where lines go; standard error unless given, since standard output belongs to a command's data. */
  readonly destination?: DestinationStream & NodeJS.WritableStream
}

/** fd 2: see {@link LogOptions.destination}. */
const STANDARD_ERROR = 2

/** An error as a log shows it: only what is meant for a reader, since foreign errors carry requests with their headers. */
function loggedError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const text = describeError(error)
  if (error instanceof LayerswarmError) return { code: error.code, blame: error.blame, message: text, remedy: error.remedy }
  return { type: error.name, message: text, stack: error.stack }
}

/**
 * The process's log: one line per event, written at once so that nothing is lost with the process.
 * Secrets are blanked by field name; errors go under `err`.
 */
export function createLogger(options: LogOptions = {}): Logger {
  const { level = 'info', format = 'json', name, destination } = options
  const sink =
    format === 'pretty'
      ? pretty({ sync: true, translateTime: 'SYS:HH:MM:ss.l', ignore: 'pid,hostname', destination: destination ?? STANDARD_ERROR })
      : (destination ?? fileDestination({ dest: STANDARD_ERROR, sync: true }))
  const log = pino(
    {
      level,
      ...(name === undefined ? {} : { name }),
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: withoutSecrets },
      serializers: { err: loggedError }
    },
    sink
  )
  // What a child logger is bound to passes no formatter. Children of children inherit this.
  const { child } = log
  log.child = function (this: Logger, bindings: Bindings, ...rest: []) {
    return child.call(this, withoutSecrets(bindings), ...rest)
  } as typeof child
  return log
}

/** Hex digits of a digest that a log shows: as many as container tools show. */
const SHORT_HEX = 12

/** A digest as logs show it: `sha256:` and the first twelve hex digits. */
export function shortDigest(digest: string): string {
  return digest.slice(0, digest.indexOf(':') + 1 + SHORT_HEX)
}
