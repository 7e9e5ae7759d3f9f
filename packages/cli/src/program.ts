import { VERSION } from '@layerswarm/core/version.ts'
import { Command } from 'commander'
import { addAgentCommand } from './commands/agent.ts'
import { addCheckCommand } from './commands/check.ts'
import { addClusterKeyCommand } from './commands/cluster-key.ts'
import { addCompletionCommand } from './commands/completion.ts'
import { addConfigCommand } from './commands/config.ts'
import { addDoctorCommand } from './commands/doctor.ts'
import { addGcCommand } from './commands/gc.ts'
import { addLsCommand } from './commands/ls.ts'
import { addMirrorCommand } from './commands/mirror.ts'
import { addPullCommand } from './commands/pull.ts'
import { addPushCommand } from './commands/push.ts'
import { addSeedCommand } from './commands/seed.ts'
import { addStandaloneCommand } from './commands/standalone.ts'
import { addStatusCommand } from './commands/status.ts'
import { addTrackerCommand } from './commands/tracker.ts'
import { examples } from './daemon-options.ts'

/** Columns that are left of 80 beside the longest option; a narrower text is not wrapped at all. */
const NARROWEST_TEXT = 30

/** The whole command line. Wrong usage throws a CommanderError once it has been told on standard error. */
export function createProgram(): Command {
  const program = new Command('layerswarm')
    .description('Container images for a fleet: each host takes layers from its peers first, from the registry last.')
    .version(VERSION, '--version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    // Options after a command are that command's, also where one above it has the same.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(usageError(text, helpCommandOf(program))) })
    .configureHelp({ sortSubcommands: false, minWidthToWrap: NARROWEST_TEXT })
  for (const add of [
    addAgentCommand,
    addTrackerCommand,
    addStandaloneCommand,
    addPullCommand,
    addPushCommand,
    addSeedCommand,
    addLsCommand,
    addCheckCommand,
    addGcCommand,
    addStatusCommand,
    addMirrorCommand,
    addDoctorCommand,
    addClusterKeyCommand,
    addConfigCommand,
    addCompletionCommand
  ]) {
    add(program)
  }
  return program
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.')
    .addHelpText(
      'after',
      examples(
        'layerswarm standalone                           one machine, to try it',
        'layerswarm mirror install --runtime containerd  its pulls then ask the agent',
        'layerswarm doctor                               what is in the way'
      )
    )
    .addHelpText('after', '\nLearn more about a command with: layerswarm COMMAND --help')
}

/** Commander's message, with its suggestion (a second line, in brackets) moved into the remedy. */
function usageError(text: string, help: string): string {
  const [problem, suggestion] = text.trimEnd().split('\n')
  const hint = suggestion === undefined ? '' : `${suggestion.replace(/^\(D(.*)\)$/, 'd$1')} `
  return `${problem}\nfix: ${hint}see ${help}\n`
}

/** The help of the command that the user seems to mean. */
function helpCommandOf(program: Command): string {
  const names = ['layerswarm']
  let command: Command | undefined = program
  for (const arg of process.argv.slice(2)) {
    command = command.commands.find((candidate) => candidate.name() === arg)
    if (command === undefined) break
    names.push(arg)
  }
  return `${names.join(' ')} --help`
}
