import { type Command, Option } from 'commander'
import type { Flags } from './load.ts'
import { flagName, type OptionSet, type OptionSpec } from './options.ts'

/**
 * Adds `--config` and an option per entry of the set, or only for those named. Values stay text: `loadConfig` checks
 * them with all others.
 */
export function addOptions<C extends object>(command: Command, set: OptionSet<C>, only?: readonly (keyof C)[]): Command {
  for (const [field, spec] of Object.entries(set.specs)) {
    if (only?.includes(field as keyof C) ?? true) command.addOption(toOption(field, spec as OptionSpec<unknown>))
  }
  const file = `/etc/layerswarm/${set.name}.toml`
  return command.addOption(new Option('--config <FILE>', `TOML file with the same options (default: ${file} if present)`))
}

function toOption(field: string, spec: OptionSpec<unknown>): Option {
  const notes = [spec.repeatable ? 'repeatable' : '', spec.defaultText === undefined ? '' : `default: ${spec.defaultText}`]
  const note = notes.filter((text) => text !== '').join('; ')
  const value = spec.bare === undefined ? `<${spec.placeholder}>` : `[${spec.placeholder}]`
  const result = new Option(`--${flagName(field)} ${value}`, note === '' ? spec.help : `${spec.help} (${note})`)
  if (spec.repeatable) result.argParser((text: string, texts: readonly string[] | undefined) => [...(texts ?? []), text])
  return result
}

/** What `addOptions` collected, for `loadConfig`. */
export function collectedFlags(command: Command): { flags: Flags; config: string | undefined } {
  const { config, ...given } = command.opts<Record<string, string | readonly string[] | true | undefined>>()
  // A preset would make text of a flag without its value, and help would call it so.
  const flags = Object.fromEntries(Object.entries(given).map(([field, value]) => [field, value === true ? 'true' : value]))
  return { flags, config: typeof config === 'string' ? config : undefined }
}
