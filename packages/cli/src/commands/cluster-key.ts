import { existsSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { newClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import type { Command } from 'commander'
import { examples } from '../daemon-options.ts'

const OWNER_ONLY = 0o600

export function addClusterKeyCommand(program: Command): void {
  const group = program
    .command('cluster-key')
    .helpCommand(false)
    .description('the secret that all hosts of a fleet share')
    .addHelpText('after', examples('layerswarm cluster-key new --out /etc/layerswarm/cluster.key'))
  const command = group
    .command('new')
    .description('make a new key and print it')
    .option('--out <FILE>', 'write it to a new file that only its owner can read, instead of printing it')
    .option('--if-missing', 'with --out: do nothing where the file is already there, whatever is in it')
    .addHelpText('after', '\nWho has the key belongs to the fleet. All its hosts need the same one: make it\nonce, and copy the file.')
    .addHelpText(
      'after',
      examples('layerswarm cluster-key new --out /etc/layerswarm/cluster.key', '(umask 077; layerswarm cluster-key new > cluster.key)')
    )
    .action(async ({ out, ifMissing }: { out?: string; ifMissing?: true }) => {
      if (out === undefined && ifMissing === true) command.error("error: option '--if-missing' needs '--out <FILE>'")
      const key = `${newClusterKey()}\n`
      if (out === undefined) process.stdout.write(key)
      else if (ifMissing !== true || !existsSync(out)) await writeNew(out, key)
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
