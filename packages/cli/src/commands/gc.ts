import type { Command } from 'commander'
import { addAgentOption } from '../configured-url.ts'
import { examples } from '../daemon-options.ts'
import { formatBytes, plural, shortHex } from '../format.ts'
import { addLocalOptions } from '../image-options.ts'
import { imagesOfHost } from '../images-of-host.ts'
import { stopSignal } from '../signals.ts'

interface GcOptions {
  readonly agent: URL
  readonly json?: true
}

export function addGcCommand(program: Command): void {
  const command = program
    .command('gc')
    .description('bring the store within --max-disk now: partial blobs given up a day ago, then what was used longest ago')
    .option('--json', 'print JSON')
  addLocalOptions(addAgentOption(command))
    .addHelpText('after', examples('layerswarm gc', 'layerswarm gc --json'))
    .action(async ({ agent, json }: GcOptions) => {
      using stop = stopSignal()
      await using host = await imagesOfHost(command, agent, 'evicting', stop.signal, { containerd: false })
      const result = await host.images.gc({ signal: stop.signal })
      if (json === true) {
        process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
        return
      }
      const { evicted, bytes, kept, bound } = result
      for (const { digest, size, state } of evicted) process.stdout.write(`${shortHex(digest)}  ${formatBytes(size)}  ${state}\n`)
      process.stdout.write(
        `${plural(evicted.length, 'blob')} evicted, ${formatBytes(bytes)}; ${formatBytes(kept)} of ${formatBytes(bound)} stay\n`
      )
    })
}
