import { agentOptions } from '@layerswarm/agent/config.ts'
import type { ConfigPlaces, MirrorStatus, SetupReport } from '@layerswarm/agent/runtime/mirror-setup.ts'
import { RUNTIME_NAMES, type RuntimeName } from '@layerswarm/agent/runtime/setup.ts'
import { addOptions } from '@layerswarm/core/config/command-options.ts'
import { type Command, Option } from 'commander'
import { daemonConfig, examples } from '../daemon-options.ts'
import { EXIT_FAILED, reportFailure } from '../exit.ts'
import { addPlaces, DEFAULT_MIRROR, placesOf, readMirrorUrl, settingsOf } from '../mirror/options.ts'
import { problemText, reportText, statusText } from '../mirror/text.ts'

/** Every runtime that is known. */
const ALL = 'all'

interface MirrorOptions extends ConfigPlaces {
  readonly runtime: RuntimeName
  readonly mirrorUrl?: string
  readonly dryRun?: true
  readonly json?: true
}

type UninstallOptions = Omit<MirrorOptions, 'runtime'> & { readonly runtime: RuntimeName | typeof ALL }

export function addMirrorCommand(program: Command): void {
  const group = program.command('mirror').helpCommand(false).description("this host's container runtimes as clients of its agent")
  addInstall(group)
  addUninstall(group)
  addStatus(group)
  group.addHelpText(
    'after',
    examples(
      'layerswarm mirror install --runtime docker --dry-run',
      'layerswarm mirror status',
      'layerswarm mirror uninstall --runtime docker'
    )
  )
}

function addInstall(group: Command): void {
  const command = group
    .command('install')
    .description('have a runtime ask the agent first; what it is configured to do stays')
    .addOption(runtimeOption().makeOptionMandatory())
    .addOption(mirrorUrlOption())
    .option('--dry-run', 'write nothing, show the changes as a diff')
    .option('--json', 'print JSON')
  addOptions(addPlaces(command), agentOptions, ['registry', 'dataDir'])
    .addHelpText(
      'after',
      '\ncontainerd is told to ask for all registries unless --registry is given, the\nothers for those of --registry or of the agent. Originals are kept in the data\ndirectory. A configuration that cannot be made right is left alone (exit 1).'
    )
    .addHelpText(
      'after',
      examples('layerswarm mirror install --runtime containerd', 'layerswarm mirror install --runtime docker --dry-run')
    )
    .action(async (options: MirrorOptions) => {
      const loaded = await daemonConfig(command, agentOptions)
      const { installMirror, runtimeNamed } = await import('@layerswarm/agent/runtime/mirror-setup.ts')
      const runtime = runtimeNamed(options.runtime, placesOf(options))
      const settings = settingsOf(loaded, options.mirrorUrl)
      const report = await installMirror(runtime, settings, { dataDir: loaded.config.dataDir, dryRun: options.dryRun === true })
      tellOne(report, options, settings.mirrorUrl)
    })
}

function addUninstall(group: Command): void {
  const command = group
    .command('uninstall')
    .description('take the agent out of the configuration of a runtime again, byte for byte')
    .addOption(new Option('--runtime <NAME>', 'whose configuration, or all').choices([...RUNTIME_NAMES, ALL]).makeOptionMandatory())
    .option('--dry-run', 'write nothing, show the changes as a diff')
    .option('--json', 'print JSON')
  addOptions(addPlaces(command), agentOptions, ['dataDir'])
    .addHelpText('after', '\nA file that was edited since keeps these edits: only what install added goes.')
    .addHelpText('after', examples('layerswarm mirror uninstall --runtime containerd', 'layerswarm mirror uninstall --runtime all'))
    .action(async (options: UninstallOptions) => {
      const { config } = await daemonConfig(command, agentOptions)
      const { runtimeNamed, uninstallMirror } = await import('@layerswarm/agent/runtime/mirror-setup.ts')
      const uninstall = (name: RuntimeName) =>
        uninstallMirror(runtimeNamed(name, placesOf(options)), { dataDir: config.dataDir, dryRun: options.dryRun === true })
      if (options.runtime === ALL) await uninstallAll(uninstall, options)
      else tellOne(await uninstall(options.runtime), options, undefined)
    })
}

/** One that fails does not keep the others. */
async function uninstallAll(uninstall: (name: RuntimeName) => Promise<SetupReport>, options: UninstallOptions): Promise<void> {
  const reports: SetupReport[] = []
  for (const name of RUNTIME_NAMES) {
    try {
      reports.push(await uninstall(name))
    } catch (error) {
      process.exitCode = reportFailure(error)
    }
  }
  const json = options.json === true
  if (json) process.stdout.write(`${JSON.stringify(reports, null, 2)}\n`)
  const told = reports.filter(({ changed, todo, problems }) => changed || todo.length + problems.length > 0)
  for (const report of told) tell(report, options, undefined)
  if (told.length === 0 && reports.length === RUNTIME_NAMES.length && !json) process.stdout.write('nothing is installed; nothing changed\n')
}

function addStatus(group: Command): void {
  const command = group
    .command('status')
    .description('which runtimes ask the agent, and what is wrong with that')
    .addOption(runtimeOption('just this one'))
    .addOption(mirrorUrlOption())
    .option('--json', 'print JSON')
  addOptions(addPlaces(command), agentOptions, ['registry', 'dataDir'])
    .addHelpText('after', examples('layerswarm mirror status', 'layerswarm mirror status --runtime containerd --json'))
    .action(async (options: Omit<MirrorOptions, 'runtime'> & { readonly runtime?: RuntimeName }) => {
      const loaded = await daemonConfig(command, agentOptions)
      const { mirrorStatus, runtimeNamed } = await import('@layerswarm/agent/runtime/mirror-setup.ts')
      const settings = settingsOf(loaded, options.mirrorUrl)
      const statuses: MirrorStatus[] = []
      for (const name of options.runtime === undefined ? RUNTIME_NAMES : [options.runtime]) {
        statuses.push(await mirrorStatus(runtimeNamed(name, placesOf(options)), settings, { dataDir: loaded.config.dataDir }))
      }
      if (options.json === true) process.stdout.write(`${JSON.stringify(statuses, null, 2)}\n`)
      else
        for (const status of statuses)
          process.stdout.write(statusText(status) + status.problems.map((one) => problemText(one, 'problem')).join(''))
    })
}

function tellOne(report: SetupReport, options: Pick<MirrorOptions, 'json'>, mirrorUrl: string | undefined): void {
  if (options.json === true) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
  tell(report, options, mirrorUrl)
}

/** For people, unless they asked for JSON; what is wrong makes the command fail. */
function tell(report: SetupReport, { json }: Pick<MirrorOptions, 'json'>, mirrorUrl: string | undefined): void {
  if (json !== true && (report.files.length > 0 || report.problems.length === 0)) process.stdout.write(reportText(report, mirrorUrl))
  if (report.problems.length === 0) return
  process.exitCode = EXIT_FAILED
  if (json !== true) process.stderr.write(report.problems.map((one) => problemText(one)).join(''))
}

function runtimeOption(help = 'whose configuration'): Option {
  return new Option(`--runtime <${RUNTIME_NAMES.join('|')}>`, help).choices(RUNTIME_NAMES)
}

function mirrorUrlOption(): Option {
  return new Option(
    '--mirror-url <URL>',
    `where the agent listens for clients (default: as it is configured, else ${DEFAULT_MIRROR})`
  ).argParser(readMirrorUrl)
}
