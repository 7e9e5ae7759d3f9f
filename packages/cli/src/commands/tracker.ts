import { trackerOptions } from '@layerswarm/tracker/config.ts'
import type { Command } from 'commander'
import { runDaemon } from '../daemon.ts'
import { addDaemonOptions, daemonConfig, daemonLog, examples, trackerDataDir } from '../daemon-options.ts'

export function addTrackerCommand(program: Command): void {
  const command = program.command('tracker').description('run the tracker of a fleet: it knows who holds and who fetches what')
  addDaemonOptions(command, trackerOptions)
    .addHelpText(
      'after',
      examples('layerswarm tracker --cluster-key /etc/layerswarm/cluster.key', 'layerswarm tracker --p2p-listen 127.0.0.1:5060')
    )
    .action(async () => {
      const { config } = await daemonConfig(command, trackerOptions)
      const log = daemonLog('tracker', config)
      const { startTracker } = await import('@layerswarm/tracker/tracker.ts')
      await runDaemon(log, () => startTracker({ ...config, dataDir: trackerDataDir(config.dataDir) }, { log }))
    })
}
