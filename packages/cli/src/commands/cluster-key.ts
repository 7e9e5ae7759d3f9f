import { open } from 'node:fs/promises'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { newClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import type { Command } from 'commander'
import { examples } from '../daemon-options.ts'

const OWNER_ONLY = 0o600

export function addClusterKeyCommand(program: Command): void {
  const group = program.command('cluster-key').helpCommand(false).description('the secret that all hosts of a fleet share')
  group
    .command('new')
    .description('make a new key and print it')
    .option('--out <FILE>', 'write it to a new file that only its owner can read, instead of printing it')
    .addHelpText(
      'after',
      examples('layerswarm cluster-key new --out /etc/layerswarm/cluster.key', '(umask 077; layerswarm cluster-key new > cluster.key)')
    )
    .action(async ({ out }: { out?: string }) => {
      const key = `${newClusterKey()}\n`
      if (out === undefined) process.stdout.write(key)
      else await writeNew(out, key)
    })
}

/** Never replaces a key: hosts that already have the old one would drop out of the fleet. */
async function writeNew(path: string, key: string): Promise<void> {
  try {
    await using file = await open(path, 'wx', OWNER_ONLY)
    await file.writeFile(key)
    await file.sync()
  } catch (error) {
    throw new LayerswarmError('KEY_NOT_WRITTEN', { detail: path, cause: error })
  }
}
