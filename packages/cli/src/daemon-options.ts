import { join } from 'node:path'
import { addOptions, collectedFlags } from '@layerswarm/core/config/command-options.ts'
import { type Loaded, loadConfig } from '@layerswarm/core/config/load.ts'
import type { OptionSet } from '@layerswarm/core/config/options.ts'
import { createLogger, type LogFormat, type Logger, type LogLevel } from '@layerswarm/core/log.ts'
import type { Command } from 'commander'

interface LogConfig {
  readonly logLevel: LogLevel
  readonly logFormat: LogFormat
}

const OTHER_PLACES = `
Each option can also be set in the TOML file (key: the flag's name without
dashes in front) and in the environment (LAYERSWARM_ and the name in capitals,
lists separated by commas). Flags win over the environment, and that over the
file. See what is effective, and why, with: layerswarm config print`

/** Makes `command` take the options of `set` from flags, environment and file. */
export function addDaemonOptions<C extends object>(command: Command, set: OptionSet<C>): Command {
  return addOptions(command, set).addHelpText('after', OTHER_PLACES)
}

/** @throws {LayerswarmError} CONFIG_INVALID, CLUSTER_KEY_NEEDED */
export async function daemonConfig<C extends object>(command: Command, set: OptionSet<C>): Promise<Loaded<C>> {
  return loadConfig(set, collectedFlags(command))
}

export function daemonLog(name: string, { logLevel, logFormat }: LogConfig): Logger {
  return createLogger({ name, level: logLevel, format: logFormat })
}

/** Examples under a command's help. */
export function examples(...lines: readonly string[]): string {
  return ['', 'Examples:', ...lines.map((line) => `  ${line}`)].join('\n')
}

/** Where a tracker keeps its identity: on a machine that also runs an agent, the two share the data directory. */
export function trackerDataDir(dataDir: string): string {
  return join(dataDir, 'tracker')
}
