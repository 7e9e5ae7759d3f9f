import { readFile } from 'node:fs/promises'
import { text as collect } from 'node:stream/consumers'
import { isContainerdNamespace } from '@layerswarm/core/api/local-api.ts'
import { parseHostChoice, type SeedDetail, type SeedSummary } from '@layerswarm/core/api/seed-api.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { formatReference, parseReference } from '@layerswarm/core/image/reference.ts'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { addTrackerUrlOption } from '../configured-url.ts'
import { examples } from '../daemon-options.ts'
import { formatAge, plural } from '../format.ts'
import { type PlatformsOption, platformOption } from '../image-options.ts'
import { followSeed } from '../seed/follow.ts'
import { failuresOf, printable, summaryText, targetText } from '../seed/text.ts'
import { type SeedView, seedView, silentSeed } from '../seed/view.ts'
import { stopSignal } from '../signals.ts'
import { tableText, terminalWidth } from '../table.ts'
import { TrackerClient, type TrackerOptions } from '../tracker-client.ts'
import { addTokenOption } from '../tracker-token.ts'

/** Between two looks, ms: a terminal shall move, a log need not. */
const LOOK_TERMINAL_MS = 400
const LOOK_MS = 1_000
/** Where `ctr` looks unless it is told otherwise. */
const DEFAULT_NAMESPACE = 'default'
/** More images than anybody seeds by hand. */
const MAX_IMAGES = 1_000

interface SeedOptions extends TrackerOptions {
  readonly hosts?: readonly string[]
  readonly file?: string
  readonly platform?: PlatformsOption
  /** The namespace of containerd. */
  readonly to?: string
  readonly detach?: true
  readonly json?: true
}

interface StatusOptions extends TrackerOptions {
  readonly wait?: true
  readonly json?: true
}

export function addSeedCommand(program: Command): void {
  const command = program
    .command('seed')
    .description('bring an image to hosts of the fleet ahead of use, each byte from the registry once')
    .enablePositionalOptions()
    .argument('[IMAGE]', '[registry/]repository[:tag][@digest]')
    .option('--file <FILE>', 'a list of images instead, one a line; - for standard input')
    .option<readonly string[]>(
      '--hosts <WHICH>',
      'all, a number as 12, a share as 25%, zone:NAME or the name of a host (repeatable, or with commas; default: all)',
      (text, earlier = []) => [...earlier, ...text.split(',')]
    )
    .addOption(platformOption('whose layers to fetch', "each host's own"))
    .addOption(
      new Option('--to <DEST>', 'where else it goes on each host: containerd, or containerd:NAMESPACE as containerd:k8s.io').argParser(
        readNamespace
      )
    )
    .option('--detach', 'do not wait for the end')
    .option('--json', 'print the result as JSON')
  addTokenOption(addTrackerUrlOption(command))
    .addHelpText(
      'after',
      '\nThe seed goes on when the terminal is gone: see it with seed status, end it with\nseed cancel. The same command again joins it; hosts that have the image are left\nas they are. Exit code 1 when it failed on any host.'
    )
    .addHelpText(
      'after',
      examples(
        'layerswarm seed ghcr.io/example/app:v2',
        'layerswarm seed nginx:1.29 --hosts zone:eu-1 --hosts 25%',
        'layerswarm seed --file images.txt --hosts host-1,host-2 --detach',
        'layerswarm seed status'
      )
    )
    .action(async (image: string | undefined, options: SeedOptions) => {
      await run(await imagesOf(command, image, options.file), options)
    })

  addTrackerUrlOption(
    command.command('status').description('how seeds fare, those that ended included').argument('[ID]', 'one seed, host by host')
  )
    .option('--wait', 'wait for its end; exit code 1 when it failed on any host')
    .option('--json', 'print JSON')
    .addHelpText('after', examples('layerswarm seed status', 'layerswarm seed status 3f2a81c09d --wait'))
    .action(async (id: string | undefined, options: StatusOptions) => {
      await (id === undefined ? listAll(options) : showOne(id, options))
    })

  addTokenOption(addTrackerUrlOption(command.command('cancel').description('end a seed: what has arrived stays').argument('<ID>')))
    .addHelpText('after', examples('layerswarm seed cancel 3f2a81c09d'))
    .action(async (id: string, options: TrackerOptions) => {
      using stop = stopSignal()
      const seed = await new TrackerClient(options, stop.signal).cancel(id)
      process.stdout.write(seed.state === 'cancelled' ? `cancelled\n${summaryText(seed)}` : `it had ended\n${summaryText(seed)}`)
    })
}

async function run(images: readonly string[], options: SeedOptions): Promise<void> {
  const { hosts, platform, to, detach, json } = options
  if (hosts !== undefined) parseHostChoice(hosts)
  using stop = stopSignal()
  const client = new TrackerClient(options, stop.signal)
  const how = {
    ...(hosts === undefined ? {} : { hosts: [...hosts] }),
    ...(platform === undefined ? {} : { platforms: platform === 'all' ? platform : [...platform] }),
    ...(to && { containerd: to })
  }
  const begun: SeedSummary[] = []
  for (const image of images) {
    const { seed, joined } = await client.begin({ image, ...how })
    begun.push(seed)
    if (json !== true) process.stdout.write(`${begunText(seed, joined)}\n`)
  }
  if (detach === true) {
    if (json === true) print(options.file === undefined ? begun[0] : begun)
    else process.stdout.write(`see how it goes with: layerswarm seed status${begun.length === 1 ? ` ${begun[0]?.id} --wait` : ''}\n`)
    return
  }
  const ended: SeedDetail[] = []
  for (const { id } of begun) ended.push(await followToEnd(client, id, { signal: stop.signal, json: json === true }))
  if (json === true) print(options.file === undefined ? ended[0] : ended)
  throwFailures(ended)
}

async function listAll({ json, ...options }: StatusOptions): Promise<void> {
  using stop = stopSignal()
  const seeds = await new TrackerClient(options, stop.signal).seeds()
  if (json === true) print(seeds)
  else if (seeds.length === 0) process.stdout.write('there are no seeds\n')
  else {
    const table = tableText(
      [
        { title: 'ID', text: ({ id }) => id },
        { title: 'IMAGE', text: ({ image }) => image, cuttable: true },
        { title: 'STATE', text: ({ state }) => state },
        { title: 'HOSTS', text: ({ states }) => `${states.done + states.here}/${sum(Object.values(states))}` },
        { title: 'FAILED', text: ({ states }) => `${states.failed}` },
        { title: 'COPIES', text: ({ copies }) => copies.toFixed(2), dispensable: 1 },
        { title: 'BEGUN', text: ({ startedAt }) => `${formatAge(Date.now() - Date.parse(startedAt))} ago` }
      ],
      seeds,
      terminalWidth()
    )
    process.stdout.write(table)
  }
}

async function showOne(id: string, { json, wait, ...options }: StatusOptions): Promise<void> {
  using stop = stopSignal()
  const client = new TrackerClient(options, stop.signal)
  if (wait === true) {
    const ended = await followToEnd(client, id, { signal: stop.signal, json: json === true })
    if (json === true) print(ended)
    throwFailures([ended])
    return
  }
  const seed = await client.seed(id)
  if (json === true) print(seed)
  else {
    const width = seed.targets.reduce((most, { name }) => Math.max(most, name.length), 0)
    const lines = seed.targets.map((target) => `${printable(target.name).padEnd(width)}  ${targetText(target)}\n`)
    process.stdout.write(`${lines.join('')}${seed.state}\n${summaryText(seed)}`)
  }
}

/** @throws the signal's reason, once it is told that the seed goes on */
async function followToEnd(
  client: TrackerClient,
  id: string,
  { signal, json }: { signal: AbortSignal; json: boolean }
): Promise<SeedDetail> {
  let last: SeedDetail | undefined
  try {
    using view: SeedView = json ? silentSeed : seedView(process.stdout)
    const everyMs = process.stdout.isTTY === true ? LOOK_TERMINAL_MS : LOOK_MS
    const onAway = () => view.note('the tracker does not answer; it is asked again for a minute')
    for await (last of followSeed(client, id, { everyMs, signal, onAway })) view.show(last)
  } catch (error) {
    if (last?.state === 'running')
      process.stderr.write(`the seed goes on: layerswarm seed status ${id}, or: layerswarm seed cancel ${id}\n`)
    throw error
  }
  if (last === undefined) throw new LayerswarmError('SEED_UNKNOWN', { detail: id })
  if (!json) process.stdout.write(summaryText(last))
  return last
}

/** @throws {LayerswarmError} SEED_FAILED, with the hosts and why, or when one was cancelled */
function throwFailures(seeds: readonly SeedDetail[]): void {
  const reasons = seeds.flatMap((seed) => {
    const cancelled = seed.state === 'cancelled' ? [`${seed.image}: the seed was cancelled`] : []
    return [...cancelled, ...failuresOf(seed).map((failure) => (seeds.length === 1 ? failure : `${seed.image}: ${failure}`))]
  })
  if (reasons.length > 0) throw new LayerswarmError('SEED_FAILED', { detail: reasons.join('\n  ') })
}

function begunText({ id, image, states }: SeedSummary, joined: boolean): string {
  return `seed ${id}: ${image} on ${plural(sum(Object.values(states)), 'host')}${joined ? ', which runs already' : ''}`
}

/** @returns the namespace of containerd */
function readNamespace(text: string): string {
  const [, namespace] = /^containerd(?::(.*))?$/.exec(text) ?? [undefined, '']
  if (namespace === undefined) return DEFAULT_NAMESPACE
  if (!isContainerdNamespace(namespace)) throw new InvalidArgumentError('Give containerd or containerd:NAMESPACE.')
  return namespace
}

/** @throws {LayerswarmError} REFERENCE_INVALID, DIGEST_INVALID; a CommanderError for wrong usage */
async function imagesOf(command: Command, image: string | undefined, file: string | undefined): Promise<readonly string[]> {
  if ((image === undefined) === (file === undefined)) command.error('error: name either an IMAGE or a list of them with --file')
  if (file === undefined) return [formatReference(parseReference(image ?? ''))]
  const text = await (file === '-' ? collect(process.stdin) : readFile(file, 'utf8')).catch((error: unknown) =>
    command.error(`error: the list cannot be read: ${describeError(error)}`)
  )
  const lines = text.split('\n').map((line) => line.replace(/(?:^|\s)#.*$/, '').trim())
  const images = [...new Set(lines.filter((line) => line !== '').map((line) => formatReference(parseReference(line))))]
  if (images.length === 0) command.error(`error: ${file} names no image`)
  if (images.length > MAX_IMAGES) command.error(`error: ${file} names more than ${MAX_IMAGES} images`)
  return images
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
