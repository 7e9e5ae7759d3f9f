import { agentOptions } from '@layerswarm/agent/config.ts'
import type { ConfigPlaces } from '@layerswarm/agent/runtime/mirror-setup.ts'
import { addOptions } from '@layerswarm/core/config/command-options.ts'
import type { Command } from 'commander'
import { addAgentOption, urlAt } from '../configured-url.ts'
import { daemonConfig, examples } from '../daemon-options.ts'
import type { Finding } from '../doctor/finding.ts'
import { EXIT_FAILED } from '../exit.ts'
import { addPlaces, placesOf, settingsOf } from '../mirror/options.ts'

interface DoctorOptions extends ConfigPlaces {
  readonly agent: URL
  readonly json?: true
}

const MARKS = { ok: 'ok     ', problem: 'PROBLEM', unknown: '?      ' } as const

export function addDoctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description("find what is wrong with this host's set-up, and say what to do")
    .option('--json', 'print JSON')
  addOptions(addPlaces(addAgentOption(command)), agentOptions, [
    'mirrorListen',
    'p2pListen',
    'tracker',
    'clusterKey',
    'registry',
    'insecureRegistry',
    'dataDir'
  ])
    .addHelpText(
      'after',
      "\nReads the agent's configuration and changes nothing. Exit code 1 when something\nis wrong. What cannot be found out is marked ? and is no fault."
    )
    .addHelpText('after', examples('layerswarm doctor', 'layerswarm doctor --json --config /etc/layerswarm/agent.toml'))
    .action(async (options: DoctorOptions) => {
      const findings = await examine(command, options)
      process.stdout.write(options.json === true ? `${JSON.stringify(findings, null, 2)}\n` : findings.map(findingText).join(''))
      if (findings.some(({ status }) => status === 'problem')) process.exitCode = EXIT_FAILED
    })
}

async function examine(command: Command, options: DoctorOptions): Promise<readonly Finding[]> {
  const loaded = await daemonConfig(command, agentOptions)
  const { config } = loaded
  const { checkAgent, checkContainerd, checkMirror } = await import('../doctor/agent-checks.ts')
  const { checkClusterKey, checkPeers, checkTrackers } = await import('../doctor/fleet-checks.ts')
  const { checkClock, checkDisk } = await import('../doctor/host-checks.ts')
  const { checkRuntimes } = await import('../doctor/runtime-checks.ts')
  const mirrorUrl = urlAt(config.mirrorListen)

  const { finding, key } = await checkClusterKey(config.clusterKey)
  const unread = config.clusterKey !== undefined && key === undefined
  const checks = await Promise.all([
    checkAgent(options.agent, config.tracker.length > 0),
    checkMirror(mirrorUrl),
    checkContainerd(options.agent),
    checkRuntimes(settingsOf(loaded, mirrorUrl), placesOf(options), config.dataDir),
    finding,
    // Without the key that it should have, no tracker would let this host in.
    unread ? [] : checkTrackers(config.tracker, key),
    checkPeers(config.dataDir, config.p2pListen, config.tracker),
    checkClock(config),
    checkDisk(config.dataDir)
  ])
  return checks.flat()
}

function findingText({ status, check, text, remedy }: Finding): string {
  const line = `${MARKS[status]}  ${check.padEnd(11)}  ${text}\n`
  return remedy === undefined ? line : `${line}         fix: ${remedy}\n`
}
