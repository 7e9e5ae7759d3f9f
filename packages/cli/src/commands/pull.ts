import { agentOptions } from '@layerswarm/agent/config.ts'
import { exportImage, type OutputName, parseOutput } from '@layerswarm/agent/images/export.ts'
import type { ImageSource } from '@layerswarm/agent/ports.ts'
import { isContainerdNamespace, type PullProgress, type PullSummary } from '@layerswarm/core/api/local-api.ts'
import { addOptions } from '@layerswarm/core/config/command-options.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { parsePlatform } from '@layerswarm/core/image/platform.ts'
import { parseReference, scopeOf } from '@layerswarm/core/image/reference.ts'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { addAgentOption } from '../configured-url.ts'
import { examples } from '../daemon-options.ts'
import { type PlatformsOption, platformOption } from '../image-options.ts'
import { agentSource, openHere } from '../images-of-host.ts'
import { pullThroughAgent } from '../pull/through-agent.ts'
import { pullStep, summaryText } from '../pull/view.ts'
import { stopSignal } from '../signals.ts'
import { silentTransfers, transferView } from '../transfer-view.ts'

interface PullOptions {
  readonly agent: URL
  readonly platform?: PlatformsOption
  readonly output?: OutputName
  readonly containerd?: true
  readonly namespace: string
  readonly json?: true
}

interface PullJob {
  readonly image: string
  readonly options: PullOptions
  readonly onProgress: (progress: PullProgress) => void
  readonly signal: AbortSignal
}

/** What was pulled, and the digest of what was written to files. */
interface Pulled {
  readonly summary: PullSummary
  readonly written: Digest | undefined
}

export function addPullCommand(program: Command): void {
  const command = program
    .command('pull')
    .description("fetch an image into this host's store, through its agent, or alone where none runs")
    .argument('<IMAGE>', '[registry/]repository[:tag][@digest]')
    .addOption(platformOption('whose layers to fetch'))
    .addOption(
      new Option('--output <DEST>', 'also write the image: oci:DIR, oci-archive:FILE or docker-archive:FILE').argParser(readOutput)
    )
    .option('--containerd', "also give it to this host's containerd: ctr run can start it then")
    .addOption(
      new Option('--namespace <NAME>', "containerd's namespace that gets it; k8s.io for Kubernetes; implies --containerd")
        .default('default', 'default')
        .argParser(readNamespace)
        .implies({ containerd: true })
    )
    .option('--json', 'print the result as JSON')
  addOptions(addAgentOption(command), agentOptions, ['registry', 'insecureRegistry', 'dataDir', 'containerdAddress'])
    .addHelpText(
      'after',
      '\nAn agent uses its own configuration; registries, containerd, data directory\nand file are for a pull without one.'
    )
    .addHelpText(
      'after',
      examples(
        'layerswarm pull nginx:1.29',
        'layerswarm pull --platform linux/arm64 ghcr.io/example/app@sha256:…',
        'layerswarm pull nginx:1.29 --output docker-archive:nginx.tar',
        'layerswarm pull nginx:1.29 --containerd',
        'layerswarm pull --insecure-registry 127.0.0.1:5000 127.0.0.1:5000/app --json'
      )
    )
    .action(async (image: string, options: PullOptions) => run(command, image, options))
}

async function run(command: Command, image: string, options: PullOptions): Promise<void> {
  parseReference(image)
  const { json } = options
  using stop = stopSignal()
  const { summary, written } = await (async () => {
    using view = json === true ? silentTransfers : transferView(process.stdout)
    const job: PullJob = { image, options, onProgress: (blob) => view.step(pullStep(blob)), signal: stop.signal }
    return (await pullByAgent(job)) ?? (await pullHere(command, job))
  })()
  if (summary.stale) process.stderr.write('warning: the registry cannot be reached; this is what the tag pointed to when it last could\n')
  if (json === true) process.stdout.write(`${JSON.stringify({ ...summary, ...(written && { written }) }, null, 2)}\n`)
  else
    process.stdout.write(`${summaryText(summary)}${options.output === undefined ? '' : `written to ${options.output.path}: ${written}\n`}`)
}

async function pullByAgent({ image, options, onProgress, signal }: PullJob): Promise<Pulled | undefined> {
  const { agent, platform, output, containerd, namespace } = options
  const request = {
    image,
    ...(platform === undefined ? {} : { platforms: platform === 'all' ? platform : [...platform] }),
    ...(containerd === true && { containerd: namespace })
  }
  const summary = await pullThroughAgent(agent, request, { signal, onProgress })
  if (summary === undefined) return undefined
  const source = agentSource(agent, image, summary.digest)
  return { summary, written: output === undefined ? undefined : await write(source, output, { image, options, onProgress, signal }) }
}

/** The same work in this process, on the data directory that the agent would use. */
async function pullHere(command: Command, { image, options, onProgress, signal }: PullJob): Promise<Pulled> {
  await using host = await openHere(command, options.agent, 'pulling', 'into')
  const platforms = platformsOf(options)
  const { containerd, namespace } = options
  const summary = await host.images.pull(image, {
    signal,
    onProgress,
    ...(platforms === undefined ? {} : { platforms }),
    ...(containerd === true && { containerd: namespace })
  })
  if (options.output === undefined) return { summary, written: undefined }
  await using source = await host.local.source(`${scopeOf(parseReference(image))}@${summary.digest}`)
  return { summary, written: await write(source, options.output, { image, options, onProgress, signal }) }
}

async function write(source: ImageSource, output: OutputName, { image, options, signal }: PullJob): Promise<Digest> {
  const { registry, repository, tag } = parseReference(image)
  const name = tag === undefined ? undefined : `${registry}/${repository}:${tag}`
  return (await exportImage(source, output, { name, platforms: platformsOf(options), signal })).digest
}

function platformsOf({ platform }: PullOptions) {
  return platform === undefined || platform === 'all' ? platform : platform.map(parsePlatform)
}

function readNamespace(text: string): string {
  if (!isContainerdNamespace(text)) throw new InvalidArgumentError(`"${text}" is not a namespace of containerd.`)
  return text
}

function readOutput(text: string): OutputName {
  try {
    return parseOutput(text)
  } catch (error) {
    throw new InvalidArgumentError(`${describeError(error)}.`)
  }
}
