import type { HeldImage, StoreTotals } from '@layerswarm/core/api/images-api.ts'
import type { Command } from 'commander'
import { addAgentOption } from '../configured-url.ts'
import { examples } from '../daemon-options.ts'
import { formatBytes, plural } from '../format.ts'
import { addLocalOptions, type PlatformsOption, platformOption } from '../image-options.ts'
import { blobColumns, IMAGE_COLUMNS } from '../image-table.ts'
import { type ImageWork, imagesOfHost } from '../images-of-host.ts'
import { stopSignal } from '../signals.ts'
import { tableText, terminalWidth } from '../table.ts'

interface LsOptions {
  readonly agent: URL
  readonly platform?: PlatformsOption
  readonly blobs?: true
  readonly quiet?: true
  readonly json?: true
}

export function addLsCommand(program: Command): void {
  const command = program
    .command('ls')
    .description('list the images that this host holds, or its blobs and who uses them')
    .option('--blobs', 'list blobs')
    .addOption(platformOption('whose layers an image needs to be complete'))
    .option('-q, --quiet', 'print only the names of complete images, or digests')
    .option('--json', 'print JSON')
  addLocalOptions(addAgentOption(command))
    .addHelpText('after', examples('layerswarm ls', 'layerswarm ls --blobs', 'layerswarm ls -q | xargs -n 1 layerswarm check --verify'))
    .action(async (options: LsOptions) => {
      using stop = stopSignal()
      await using host = await imagesOfHost(command, options.agent, 'listing', stop.signal)
      await (options.blobs === true ? listBlobs(host.images, options, stop.signal) : listImages(host.images, options, stop.signal))
    })
}

async function listImages(work: ImageWork, { platform, quiet, json }: LsOptions, signal: AbortSignal): Promise<void> {
  const images: HeldImage[] = []
  let totals: StoreTotals | undefined
  for await (const line of work.list(platform === undefined || platform === 'all' ? platform : [...platform], { signal })) {
    if ('image' in line) images.push(line.image)
    else if ('totals' in line) totals = line.totals
  }
  if (json === true) return print(`${JSON.stringify({ images, totals }, null, 2)}\n`)
  if (quiet === true) return print(images.flatMap(({ image, state }) => (state === 'complete' ? [`${image}\n`] : [])).join(''))
  const width = terminalWidth()
  print(tableText(IMAGE_COLUMNS, images, width))
  // A program that reads the table wants nothing below it.
  if (width !== undefined && totals !== undefined) print(`\n${totalsText(totals)}`)
}

async function listBlobs(work: ImageWork, { quiet, json }: LsOptions, signal: AbortSignal): Promise<void> {
  const blobs = await Array.fromAsync(work.blobs({ signal }))
  if (json === true) return print(`${JSON.stringify(blobs, null, 2)}\n`)
  if (quiet === true) return print(blobs.map(({ digest }) => `${digest}\n`).join(''))
  print(tableText(blobColumns(Date.now()), blobs, terminalWidth()))
}

/** How much the images share. */
function totalsText({ images, blobs, bytes, referenced, unused, containerd, twice }: StoreTotals): string {
  const onDisk = bytes + (twice?.bytes ?? 0)
  const lines = [
    `${plural(blobs, 'blob')}, ${formatBytes(onDisk)} on disk`,
    ...(containerd === undefined || containerd.blobs === 0
      ? []
      : [`${plural(containerd.blobs, 'blob')} in containerd, ${formatBytes(containerd.bytes)}`]),
    ...(twice === undefined || twice.blobs === 0
      ? []
      : [`${plural(twice.blobs, 'blob')} there and here, ${formatBytes(twice.bytes)}: once with --keep until-ingested`]),
    `${plural(images, 'image')}, ${formatBytes(referenced)} with what they share${onDisk === 0 ? '' : `, ${(referenced / onDisk).toFixed(2)} times what is on disk`}`,
    ...(unused.blobs === 0 ? [] : [`${plural(unused.blobs, 'blob')} of no image known here, ${formatBytes(unused.bytes)}`])
  ]
  return lines.map((line) => `${line}\n`).join('')
}

function print(text: string): void {
  process.stdout.write(text)
}
