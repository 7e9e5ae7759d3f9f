import type { CheckedImage, CheckLine, CheckSummary } from '@layerswarm/core/api/images-api.ts'
import { parseReference } from '@layerswarm/core/image/reference.ts'
import type { Command } from 'commander'
import { checkView, silentCheck } from '../check/view.ts'
import { addAgentOption } from '../configured-url.ts'
import { examples } from '../daemon-options.ts'
import { EXIT_FAILED } from '../exit.ts'
import { formatBytes, plural, shortHex } from '../format.ts'
import { addLocalOptions, type PlatformsOption, platformOption } from '../image-options.ts'
import { IMAGE_COLUMNS } from '../image-table.ts'
import { imagesOfHost } from '../images-of-host.ts'
import { stopSignal } from '../signals.ts'
import { tableText, terminalWidth } from '../table.ts'

interface CheckOptions {
  readonly agent: URL
  readonly platform?: PlatformsOption
  readonly verify?: true
  readonly repair?: true
  readonly quiet?: true
  readonly json?: true
}

export function addCheckCommand(program: Command): void {
  const command = program
    .command('check')
    .description('check that images are whole, and with --verify that every byte is right; exit code 1 on any fault')
    .argument('[IMAGE]', '[registry/]repository[:tag][@digest]; without it, everything that is held')
    .option('--verify', 'hash all content again; what is corrupt is removed, in containerd withdrawn')
    .option('--repair', 'fetch again what is missing or corrupt')
    .addOption(platformOption('whose layers an image needs to be complete'))
    .option('-q, --quiet', 'print only the names of complete images')
    .option('--json', 'print JSON')
  addLocalOptions(addAgentOption(command))
    .addHelpText(
      'after',
      '\nAn image of which nothing is left (missing) is a fault only where it is named.\nWith --repair the exit code is 0 once all is whole again.'
    )
    .addHelpText('after', examples('layerswarm check', 'layerswarm check nginx:1.29 --verify', 'layerswarm check --verify --repair --json'))
    .action(async (image: string | undefined, options: CheckOptions) => run(command, image, options))
}

async function run(command: Command, image: string | undefined, options: CheckOptions): Promise<void> {
  if (image !== undefined) parseReference(image)
  const { agent, platform, verify, repair } = options
  using stop = stopSignal()
  await using host = await imagesOfHost(command, agent, 'checking', stop.signal)
  const request = {
    ...(image === undefined ? {} : { image }),
    ...(platform === undefined ? {} : { platforms: platform === 'all' ? platform : [...platform] }),
    ...(verify === undefined ? {} : { verify }),
    ...(repair === undefined ? {} : { repair })
  }
  const found: Found = { images: [], failures: [], summary: undefined }
  {
    using view = options.json === true || options.quiet === true ? silentCheck : checkView(process.stderr)
    for await (const line of host.images.check(request, { signal: stop.signal })) {
      if ('progress' in line) view.step(line.progress)
      else take(found, line)
    }
  }
  const { images, failures, summary } = found
  if (summary === undefined) throw new Error('the check ended without its summary')
  if (options.json === true) process.stdout.write(`${JSON.stringify({ ...summary, images: images, failed: failures }, null, 2)}\n`)
  else if (options.quiet === true) {
    process.stdout.write(images.flatMap(({ image: name, state }) => (state === 'complete' ? [`${name}\n`] : [])).join(''))
  } else {
    process.stdout.write(tableText(IMAGE_COLUMNS, images, terminalWidth()))
    process.stderr.write(findings(summary, failures))
  }
  if (!summary.sound) process.exitCode = EXIT_FAILED
}

interface Found {
  readonly images: CheckedImage[]
  readonly failures: { readonly image: string; readonly error: { readonly code: string; readonly message: string } }[]
  summary: CheckSummary | undefined
}

function take(found: Found, line: CheckLine): void {
  if ('image' in line) found.images.push(line.image)
  else if ('failed' in line) found.failures.push(line.failed)
  else if ('summary' in line) found.summary = line.summary
}

/** What is wrong, and what was done about it. */
function findings({ corrupt, mended, verified, sound, seconds }: CheckSummary, failures: Found['failures']): string {
  const lines = corrupt.map(({ digest, size, images }) => {
    const users = images.length === 0 ? 'no image known here' : images.join(', ')
    return `corrupt: ${shortHex(digest)}, ${formatBytes(size)}, of ${users}; withdrawn\n`
  })
  for (const { image, error } of failures) lines.push(`not mended: ${image}: ${error.message}\n`)
  if (mended > 0) lines.push(`fetched again: ${plural(mended, 'blob')}\n`)
  if (verified.blobs > 0)
    lines.push(`hashed: ${plural(verified.blobs, 'blob')}, ${formatBytes(verified.bytes)} in ${seconds.toFixed(1)} s\n`)
  if (!sound && corrupt.length === 0) lines.push('not whole: fetch what is missing with --repair\n')
  return lines.join('')
}
