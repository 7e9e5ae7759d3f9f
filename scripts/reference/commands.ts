import { agentOptions, standaloneOptions } from '@layerswarm/agent/config.ts'
import { envName, flagName, type OptionSpec } from '@layerswarm/core/config/options.ts'
import { trackerOptions } from '@layerswarm/tracker/config.ts'
import { createProgram } from '../../packages/cli/src/program.ts'
import { code, table } from './markdown.ts'

type Command = ReturnType<typeof createProgram>
type Option = Command['options'][number]

const DAEMONS = { agent: agentOptions, tracker: trackerOptions, standalone: standaloneOptions }

/** Options that a table of daemon options lists already. */
const DAEMON_FLAGS = new Set(
  Object.values(DAEMONS)
    .flatMap(({ specs }) => Object.keys(specs))
    .map((field) => `--${flagName(field)}`)
    .concat('--config')
)

export function commandsSection(): string {
  return `## Commands\n\nExit codes: 0 done, 1 failed, 2 wrong usage (an unknown or invalid option or value), 130 interrupted. Failures are told on
standard error as \`error: …\` and \`fix: …\`.\n\n${leaves(createProgram(), [])
    .map(([names, command]) => commandText(names, command))
    .join('\n\n')}`
}

function leaves(command: Command, names: readonly string[]): [readonly string[], Command][] {
  const path = [...names, command.name()]
  // `config print agent` and its like differ in the daemon's options only.
  const children = command.commands.filter((child) => names.length === 0 || !(child.name() in DAEMONS))
  const acts = children.length === 0 || command.registeredArguments.length > 0
  return [...(acts ? [[path, command] as [readonly string[], Command]] : []), ...children.flatMap((child) => leaves(child, path))]
}

function commandText(names: readonly string[], command: Command): string {
  const daemons = takesDaemon(command)
  const usage = [...names, ...command.registeredArguments.map((argument) => (argument.required ? argument.name() : `[${argument.name()}]`))]
  if (daemons) usage.push('[agent|tracker|standalone]')
  const all = daemons ? command.commands.flatMap(({ options }) => options) : command.options
  const own = unique(all.filter((option) => !isDaemonOption(option)))
  const options =
    own.length === 0
      ? ''
      : `\n\n${table(
          ['option', 'meaning'],
          own.map((option) => [code(option.flags), meaning(option)])
        )}`
  return `### ${code(usage.join(' '))}\n\n${sentence(command.description())}${options}${otherOptions(names, command)}`
}

function otherOptions(names: readonly string[], command: Command): string {
  const name = names.at(-1) ?? ''
  if (name in DAEMONS) return `\n\nOptions: see [${name}](#options-of-${name}).`
  if (takesDaemon(command)) return '\n\nAlso takes the options of the daemon.'
  const shared = command.options.filter(isDaemonOption).map(({ long }) => code(long ?? ''))
  return shared.length === 0 ? '' : `\n\nAlso takes ${shared.join(', ')} as the [agent](#options-of-agent) does.`
}

function takesDaemon(command: Command): boolean {
  return command.commands.some((child) => child.name() in DAEMONS)
}

function unique(options: readonly Option[]): Option[] {
  return [...new Map(options.map((option) => [option.flags, option])).values()]
}

function isDaemonOption({ long }: Option): boolean {
  return DAEMON_FLAGS.has(long ?? '')
}

function meaning({ description, defaultValueDescription }: Option): string {
  return defaultValueDescription === undefined ? description : `${description} (default: ${defaultValueDescription})`
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

export function optionsSection(): string {
  const everything = Object.values(DAEMONS).flatMap(({ specs }) => Object.values(specs) as OptionSpec<unknown>[])
  const described = everything.filter(({ placeholder }) => /^[A-Z:]+$/.test(placeholder) && !/^(?:FILE|DIR|LEVEL)$/.test(placeholder))
  const values = [...new Map(described.map(({ placeholder, syntax }) => [placeholder, [code(placeholder), syntax]])).values()]
  const daemons = Object.entries(DAEMONS).map(([name, { specs }]) => {
    const inherited = name === 'standalone' ? agentOptions.specs : {}
    const rows = Object.entries(specs)
      .filter(([field]) => !(field in inherited))
      .map(([field, spec]) => optionRow(field, spec as OptionSpec<unknown>))
    const file = `/etc/layerswarm/${name}.toml if present`
    rows.push([code('--config FILE'), code('LAYERSWARM_CONFIG'), file, 'TOML file with the same options'])
    const note = name === 'standalone' ? 'Those of the agent, and:\n\n' : ''
    return `### Options of ${name}\n\n${note}${table(['flag', 'variable', 'default', 'meaning'], rows)}`
  })
  return `## Options

Each option is set in the TOML file, in the environment, or by a flag, in order of increasing priority. The TOML key is the flag's
name without dashes in front (\`mirror-listen = "127.0.0.1:5050"\`); lists are arrays there, separated by commas in a variable, and
repeated flags. A list given in one place replaces that of a lower one. An empty variable counts as not set. Unknown keys and
\`LAYERSWARM_…\` variables are errors. \`layerswarm config print\` shows what is effective and where it came from.

${table(['value', 'is'], values)}

${daemons.join('\n\n')}`
}

function optionRow(field: string, { placeholder, repeatable, defaultText, help }: OptionSpec<unknown>): string[] {
  return [
    code(`--${flagName(field)} ${placeholder}`),
    code(envName(field)),
    defaultText ?? 'none',
    repeatable ? `${help} (repeatable)` : help
  ]
}
