import { describeError, type ErrorCode, LayerswarmError } from '@layerswarm/core/errors.ts'
import { CommanderError } from 'commander'
import { EXIT_INTERRUPTED, Interrupted } from './signals.ts'

export const EXIT_DONE = 0
export const EXIT_FAILED = 1
/** An unknown or invalid command, option or value. */
const EXIT_USAGE = 2

/** Errors in what the user wrote, as opposed to what then went wrong. */
const USAGE_ERRORS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CONFIG_INVALID',
  'CLUSTER_KEY_NEEDED',
  'REFERENCE_INVALID',
  'NAME_INVALID',
  'TAG_INVALID',
  'DIGEST_INVALID',
  'SOURCE_INVALID',
  'HOSTS_INVALID'
])

/** Tells a failure on standard error, as `error:` and where it is known `fix:`. @returns the exit code */
export function reportFailure(error: unknown): number {
  if (error instanceof Interrupted) return EXIT_INTERRUPTED
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_DONE : EXIT_USAGE
  process.stderr.write(`error: ${describeError(error)}\n`)
  if (!(error instanceof LayerswarmError)) return EXIT_FAILED
  process.stderr.write(`fix: ${error.remedy}\n`)
  return USAGE_ERRORS.has(error.code) ? EXIT_USAGE : EXIT_FAILED
}
