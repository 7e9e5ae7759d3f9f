import { agentOptions } from '@layerswarm/agent/config.ts'
import { type AgentStatus, agentStatus, STATUS_PATH, type TransferStatus } from '@layerswarm/core/api/status-api.ts'
import { addOptions } from '@layerswarm/core/config/command-options.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Command } from 'commander'
import { answer, askAgent } from '../agent-client.ts'
import { addAgentOption } from '../configured-url.ts'
import { examples } from '../daemon-options.ts'
import { formatAge, formatBytes, plural, shortHex } from '../format.ts'
import { stopSignal } from '../signals.ts'

interface StatusOptions {
  readonly agent: URL
  readonly json?: true
}

export function addStatusCommand(program: Command): void {
  const command = program.command('status').description("what this host's agent has and does now, and why").option('--json', 'print JSON')
  addOptions(addAgentOption(command), agentOptions, [])
    .addHelpText('after', examples('layerswarm status', 'watch layerswarm status', 'layerswarm status --json'))
    .action(async ({ agent, json }: StatusOptions) => {
      using stop = stopSignal()
      const response = await askAgent(agent, STATUS_PATH, { signal: stop.signal })
      if (response === undefined) throw new LayerswarmError('AGENT_UNREACHABLE', { detail: agent.origin })
      const status = await answer(agent, response, agentStatus)
      process.stdout.write(json === true ? `${JSON.stringify(status, null, 2)}\n` : statusText(status))
    })
}

/** The status for people, within 80 columns. */
export function statusText({ id, name, version, seconds, tracker, peers, store, limits, containerd, transfers }: AgentStatus): string {
  const { complete, partial, bound } = store
  const lines = [
    `${name}, version ${version}, for ${formatAge(seconds * 1000)}`,
    `id       ${id}`,
    `tracker  ${trackerText(tracker)}`,
    `peers    ${peers === 0 ? 'none connected' : `${peers} connected`}`,
    `store    ${formatBytes(complete.bytes + partial.bytes)} of ${formatBytes(bound)}: ${plural(complete.blobs, 'blob')}, ${partial.blobs} in part`,
    ...limitsLine(limits),
    ...containerdLines(containerd),
    transfers.length === 0 ? 'nothing is being fetched' : `fetching ${plural(transfers.length, 'blob')}:`
  ]
  return `${[...lines, ...transfers.flatMap(transferLines)].join('\n')}\n`
}

/** Nothing where nothing is limited. */
function limitsLine(limits: AgentStatus['limits'] = {}): string[] {
  const set = Object.entries(limits).flatMap(([what, rate]) => (rate === undefined ? [] : [`${what} ${formatBytes(rate)}/s`]))
  return set.length === 0 ? [] : [`limits   ${set.join(', ')}`]
}

/** None where there is no containerd, or nothing in it. */
function containerdLines(containerd: AgentStatus['containerd']): string[] {
  if (containerd === undefined) return []
  const { offered, unproven, corrupt, problem } = containerd
  if (problem !== undefined) return [`containerd  not shared: ${problem}`]
  if (offered.blobs + unproven.blobs + corrupt.blobs === 0) return []
  const rest = [
    ...(unproven.blobs === 0 ? [] : [`${formatBytes(unproven.bytes)} yet to be hashed`]),
    ...(corrupt.blobs === 0 ? [] : [`${plural(corrupt.blobs, 'blob')} corrupt`])
  ]
  const shared = `${formatBytes(offered.bytes)} shared where it lies: ${plural(offered.blobs, 'blob')}`
  return [`containerd  ${[shared, ...rest].join(', ')}`]
}

function trackerText({ connected, configured }: AgentStatus['tracker']): string {
  if (connected) return 'connected'
  return configured === 0
    ? 'none configured: layers come from the registry alone'
    : 'not connected: this host goes by what it knows of its peers'
}

function transferLines({ digest, repository, size, counts, seconds, waiting, sources, order }: TransferStatus): string[] {
  const present = counts.local + counts.peer + counts.registry
  const percent = size === 0 ? 100 : Math.floor((present / size) * 100)
  const rate = (bytes: number) => `${formatBytes(seconds > 0 ? bytes / seconds : 0)}/s`
  const registry =
    sources.registry > 0
      ? plural(sources.registry, 'connection')
      : order === 'leases' && sources.leases === 0
        ? 'left to other hosts'
        : 'idle'
  return [
    `  ${shortHex(digest)}  ${percent} % of ${formatBytes(size)}  ${repository}`,
    `    peers     ${rate(counts.peer)}  ${plural(sources.peers, 'host')} with some of it, ${plural(sources.requests, 'piece')} asked for`,
    `    registry  ${rate(counts.registry)}  ${registry}, ${plural(sources.leases, 'lease')}${order === 'own' ? '; no tracker deals them out' : ''}`,
    `    ${waiting === 0 ? 'no client waits for it' : `${plural(waiting, 'client')} waiting`}`
  ]
}
