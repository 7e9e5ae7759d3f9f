import { openFiles, parseSource } from '@layerswarm/agent/images/sources.ts'
import { takeIn } from '@layerswarm/agent/images/take-in.ts'
import type { PushProgress, PushRequest, PushSummary } from '@layerswarm/core/api/push-api.ts'
import { parseReference } from '@layerswarm/core/image/reference.ts'
import { type Command, Option } from 'commander'
import { addAgentOption } from '../configured-url.ts'
import { examples } from '../daemon-options.ts'
import { formatBytes, plural } from '../format.ts'
import { addLocalOptions } from '../image-options.ts'
import { type ImageWork, imagesOfHost } from '../images-of-host.ts'
import { stopSignal } from '../signals.ts'
import { type Step, silentTransfers, type TransferView, transferView } from '../transfer-view.ts'

interface PushOptions {
  readonly agent: URL
  readonly from: string
  readonly json?: true
}

export function addPushCommand(program: Command): void {
  const command = program
    .command('push')
    .description('give a registry an image: only what it lacks is sent, and what was pushed is in the fleet at once')
    .argument('<IMAGE>', '[registry/]repository[:tag]')
    .addOption(
      new Option(
        '--from <SRC>',
        'store, store:IMAGE, containerd, containerd:IMAGE, oci:DIR, oci-archive:FILE or docker-archive:FILE'
      ).default('store', 'store')
    )
    .option('--json', 'print the result as JSON')
  addLocalOptions(addAgentOption(command))
    .addHelpText(
      'after',
      '\nWhere a layout or an archive holds several images, the one that carries the tag\nof IMAGE is taken. Images in files pass through the store. What containerd\nholds is hashed first, as far as it has not been.'
    )
    .addHelpText(
      'after',
      examples(
        'layerswarm push reg.example.com/app:1.0 --from docker-archive:app.tar',
        'layerswarm push reg.example.com/app:ok --from store:reg.example.com/app:1.0',
        'layerswarm push reg.example.com/app:1.0 --from containerd:local/app:dev',
        'layerswarm push reg.example.com/models/large:1 --from oci:./model'
      )
    )
    .action(async (image: string, options: PushOptions) => run(command, image, options))
}

async function run(command: Command, image: string, { agent, from, json }: PushOptions): Promise<void> {
  parseReference(image)
  const source = parseSource(from)
  using stop = stopSignal()
  const { signal } = stop
  await using host = await imagesOfHost(command, agent, 'pushing', signal, { containerd: source.kind === 'store' })
  const summary = await (async () => {
    using view = json === true ? silentTransfers : transferView(process.stdout)
    const request: PushRequest =
      'path' in source
        ? { image, from: await intoStore(host.images, source, image, view, signal) }
        : { image, from: { image: source.image ?? image, ...(source.kind === 'containerd' && { at: source.kind }) } }
    return await host.images.push(request, { signal, onProgress: (progress) => view.step(pushStep(progress)) })
  })()
  process.stdout.write(json === true ? `${JSON.stringify(summary, null, 2)}\n` : summaryText(summary))
}

/** Takes an image in files into the store. @returns its root there */
async function intoStore(
  work: ImageWork,
  source: Parameters<typeof openFiles>[0],
  image: string,
  view: TransferView,
  signal: AbortSignal
): Promise<PushRequest['from']> {
  await using files = await openFiles(source, image)
  await takeIn(files, work, {
    signal,
    onProgress: (progress) => view.step({ ...progress, note: 'into the store', outcome: `${formatBytes(progress.size)} into the store` })
  })
  const { mediaType, digest, size } = files.root
  return { root: { mediaType, digest, size } }
}

const OUTCOMES = { sent: 'sent', held: 'already at the registry', mounted: 'from another repository there' } as const

function pushStep({ digest, size, bytes, how, done, hashed }: PushProgress): Step {
  if (hashed !== undefined) return { digest, size, bytes: hashed, done: false, note: 'hashing', phase: 'hashed', outcome: '' }
  return { digest, size, bytes, done, note: '', outcome: `${formatBytes(size)} ${OUTCOMES[how]}` }
}

/** What the push came to, for people. */
function summaryText({ image, digest, manifests, blobs, skipped, sent, mounted, held, seconds }: PushSummary): string {
  const left = skipped === 0 ? '' : `\n${plural(skipped, 'layer')} left out: not for distribution, only its author may give it out`
  return (
    `${image}\n${digest}\n` +
    `${plural(manifests, 'manifest')} and ${plural(blobs, 'blob')} in ${seconds.toFixed(1)} s: ${formatBytes(sent)} sent,\n` +
    `${formatBytes(held)} already at the registry, ${formatBytes(mounted)} from another repository there${left}\n`
  )
}
