import { agentOptions } from '@layerswarm/agent/config.ts'
import type { PullProgress, PullSummary } from '@layerswarm/core/api/local-api.ts'
import { addOptions } from '@layerswarm/core/config/command-options.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { parsePlatform } from '@layerswarm/core/image/platform.ts'
import { parseReference } from '@layerswarm/core/image/reference.ts'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { daemonConfig, daemonLog, examples } from '../daemon-options.ts'
import { pullThroughAgent } from '../pull/through-agent.ts'
import { pullView, silentView, summaryText } from '../pull/view.ts'
import { stopSignal } from '../signals.ts'

const DEFAULT_AGENT = 'http://127.0.0.1:5051'

interface PullOptions {
  readonly agent: URL
  readonly platform?: 'all' | readonly string[]
  readonly json?: true
}

interface PullJob {
  readonly image: string
  readonly platforms: PullOptions['platform']
  readonly onProgress: (progress: PullProgress) => void
  readonly signal: AbortSignal
}

export function addPullCommand(program: Command): void {
  const command = program
    .command('pull')
    .description("fetch an image into this host's store, through its agent, or alone where none runs")
    .argument('<IMAGE>', '[registry/]repository[:tag][@digest]')
    .addOption(new Option('--agent <URL>', "this host's agent").argParser(readUrl).default(new URL(DEFAULT_AGENT), DEFAULT_AGENT))
    .addOption(
      new Option('--platform <OS/ARCH>', "whose layers to fetch, or all (repeatable; default: this host's)").argParser(readPlatform)
    )
    .option('--json', 'print the result as JSON')
  addOptions(command, agentOptions, ['registry', 'insecureRegistry', 'dataDir'])
    .addHelpText('after', '\nAn agent uses its own configuration; registries, data directory and file\nare for a pull without one.')
    .addHelpText(
      'after',
      examples(
        'layerswarm pull nginx:1.29',
        'layerswarm pull --platform linux/arm64 ghcr.io/example/app@sha256:…',
        'layerswarm pull --insecure-registry 127.0.0.1:5000 127.0.0.1:5000/app --json'
      )
    )
    .action(async (image: string, options: PullOptions) => run(command, image, options))
}

async function run(command: Command, image: string, { agent, platform, json }: PullOptions): Promise<void> {
  parseReference(image)
  using stop = stopSignal()
  const summary = await (async () => {
    using view = json === true ? silentView : pullView(process.stdout)
    const job = { image, platforms: platform, onProgress: (blob: PullProgress) => view.progress(blob), signal: stop.signal }
    const request = { image, ...(platform === undefined ? {} : { platforms: platform === 'all' ? platform : [...platform] }) }
    return (await pullThroughAgent(agent, request, job)) ?? (await pullHere(command, agent, job))
  })()
  if (summary.stale) process.stderr.write('warning: the registry cannot be reached; this is what the tag pointed to when it last could\n')
  process.stdout.write(json === true ? `${JSON.stringify(summary, null, 2)}\n` : summaryText(summary))
}

/** The same work in this process, on the data directory that the agent would use. */
async function pullHere(command: Command, agent: URL, { image, platforms, onProgress, signal }: PullJob): Promise<PullSummary> {
  const { config } = await daemonConfig(command, agentOptions)
  process.stderr.write(`no agent at ${agent.origin}: pulling in this process, into ${config.dataDir}\n`)
  const { openLocal } = await import('@layerswarm/agent/agent.ts')
  // What the agent would log of use to its operator is this command's own output here.
  const log = daemonLog('pull', { logLevel: config.logLevel === 'info' ? 'warn' : config.logLevel, logFormat: config.logFormat })
  await using local = await openLocal(config, { log })
  return await local.images.pull(image, {
    signal,
    onProgress,
    ...(platforms === undefined ? {} : { platforms: platforms === 'all' ? platforms : platforms.map(parsePlatform) })
  })
}

function readUrl(text: string): URL {
  const url = URL.parse(text)
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') throw new InvalidArgumentError(`Not a URL, as ${DEFAULT_AGENT}.`)
  return url
}

function readPlatform(text: string, earlier?: 'all' | readonly string[]): 'all' | readonly string[] {
  if (text === 'all' || earlier === 'all') return 'all'
  try {
    parsePlatform(text)
  } catch (error) {
    throw new InvalidArgumentError(`${describeError(error)}.`)
  }
  return [...(earlier ?? []), text]
}
