import { type StandaloneConfig, standaloneOptions } from '@layerswarm/agent/config.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { Command } from 'commander'
import { runDaemon } from '../daemon.ts'
import { addDaemonOptions, daemonConfig, daemonLog, examples, trackerDataDir } from '../daemon-options.ts'

export function addStandaloneCommand(program: Command): void {
  const command = program.command('standalone').description('run an agent with an embedded tracker in one process: for one machine')
  addDaemonOptions(command, standaloneOptions)
    .addHelpText('after', examples('layerswarm standalone', 'layerswarm standalone --registry registry.example.com --max-disk 50GiB'))
    .action(async () => {
      const { config } = await daemonConfig(command, standaloneOptions)
      const log = daemonLog('standalone', config)
      await runDaemon(log, () => startStandalone(config, log))
    })
}

/** The tracker starts first, since the agent is told its address; both have their own identity and data. */
async function startStandalone(config: StandaloneConfig, log: Logger): Promise<AsyncDisposable> {
  const { startTracker } = await import('@layerswarm/tracker/tracker.ts')
  const { startAgent } = await import('@layerswarm/agent/agent.ts')
  await using parts = new AsyncDisposableStack()
  const tracker = parts.use(
    await startTracker(
      { ...config, p2pListen: config.trackerListen, dataDir: trackerDataDir(config.dataDir) },
      { log: log.child({ part: 'tracker' }) }
    )
  )
  parts.use(
    await startAgent({ ...config, tracker: [...tracker.p2p.slice(0, 1), ...config.tracker] }, { log: log.child({ part: 'agent' }) })
  )
  return parts.move()
}
