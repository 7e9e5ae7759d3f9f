import { agentOptions, standaloneOptions } from '@layerswarm/agent/config.ts'
import type { Loaded, Origin } from '@layerswarm/core/config/load.ts'
import { flagName, type OptionSet, type OptionSpec } from '@layerswarm/core/config/options.ts'
import { readClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import { trackerOptions } from '@layerswarm/tracker/config.ts'
import type { Command } from 'commander'
import { addDaemonOptions, daemonConfig, examples } from '../daemon-options.ts'

interface Entry {
  readonly key: string
  readonly texts: readonly string[]
  readonly repeatable: boolean
  readonly defaultText: string | undefined
  readonly origin: Origin
}

export function addConfigCommand(program: Command): void {
  const group = program
    .command('config')
    .helpCommand(false)
    .description("a daemon's effective options")
    .addHelpText('after', examples('layerswarm config print', 'layerswarm config check tracker'))
  const print = group
    .command('print')
    .helpCommand(false)
    .description('print the effective options as TOML, each with where it came from')
    .addHelpText(
      'after',
      examples('layerswarm config print', 'layerswarm config print tracker --json', 'layerswarm config print agent --max-disk 20GiB')
    )
  const check = group
    .command('check')
    .helpCommand(false)
    .description('check file, environment and flags without starting anything')
    .addHelpText('after', examples('layerswarm config check', 'layerswarm config check tracker --config ./tracker.toml'))
  addDaemons(print, printOptions)
  addDaemons(check, checkOptions)
}

type Show = <C extends object>(set: OptionSet<C>, loaded: Loaded<C>, options: { json: boolean }) => Promise<void>

function addDaemons(parent: Command, show: Show): void {
  const add = <C extends object>(set: OptionSet<C>, isDefault = false): void => {
    const command = parent.command(set.name, { isDefault }).description(`options of ${set.name}${isDefault ? ' (the default)' : ''}`)
    command.option('--json', 'print JSON')
    addDaemonOptions(command, set)
      .addHelpText('after', examples(`layerswarm config ${parent.name()} ${set.name} --data-dir /srv/layerswarm`))
      .action(async ({ json }: { json?: true }) => show(set, await daemonConfig(command, set), { json: json === true }))
  }
  add(agentOptions, true)
  add(trackerOptions)
  add(standaloneOptions)
}

async function printOptions<C extends object>(set: OptionSet<C>, loaded: Loaded<C>, { json }: { json: boolean }): Promise<void> {
  const entries = entriesOf(set, loaded)
  process.stdout.write(json ? `${JSON.stringify(asJson(set, loaded, entries), null, 2)}\n` : entries.map(asToml).join(''))
}

async function checkOptions<C extends object>(set: OptionSet<C>, loaded: Loaded<C>, { json }: { json: boolean }): Promise<void> {
  const { clusterKey } = loaded.config as { clusterKey?: string }
  const warning = clusterKey === undefined ? undefined : (await readClusterKey(clusterKey)).warning
  if (json)
    process.stdout.write(`${JSON.stringify({ daemon: set.name, file: loaded.file ?? null, valid: true, warning: warning ?? null })}\n`)
  else process.stdout.write(`${set.name}: valid (${loaded.file ?? 'no file'})\n${warning === undefined ? '' : `warning: ${warning}\n`}`)
}

function entriesOf<C extends object>(set: OptionSet<C>, { config, origins }: Loaded<C>): Entry[] {
  return (Object.entries(set.specs) as [keyof C & string, OptionSpec<unknown>][]).map(([field, { format, repeatable, defaultText }]) => ({
    key: flagName(field),
    texts: format(config[field]),
    repeatable,
    defaultText,
    origin: origins[field]
  }))
}

function asToml({ key, texts, repeatable, defaultText, origin }: Entry): string {
  const from = origin.kind === 'default' ? 'default' : origin.name
  if (texts.length === 0) return `# ${key} is not set${defaultText === undefined || origin.kind !== 'default' ? '' : `: ${defaultText}`}\n`
  const value = repeatable ? `[${texts.map((text) => JSON.stringify(text)).join(', ')}]` : JSON.stringify(texts[0])
  return `${key} = ${value}  # ${from}\n`
}

function asJson<C extends object>(set: OptionSet<C>, { file }: Loaded<C>, entries: readonly Entry[]): object {
  const options = entries.map(({ key, texts, repeatable, origin }) => {
    const value = repeatable ? texts : (texts[0] ?? null)
    return [key, { value, origin: origin.kind, ...(origin.name === '' ? {} : { from: origin.name }) }]
  })
  return { daemon: set.name, file: file ?? null, options: Object.fromEntries(options) }
}
