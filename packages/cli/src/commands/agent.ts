import { agentOptions } from '@layerswarm/agent/config.ts'
import type { Command } from 'commander'
import { runDaemon } from '../daemon.ts'
import { addDaemonOptions, daemonConfig, daemonLog, examples } from '../daemon-options.ts'

export function addAgentCommand(program: Command): void {
  const command = program.command('agent').description('run the agent of this host: a registry mirror that serves from its peers first')
  addDaemonOptions(command, agentOptions)
    .addHelpText(
      'after',
      examples(
        'layerswarm agent --cluster-key /etc/layerswarm/cluster.key \\',
        '  --tracker /ip4/192.0.2.1/tcp/5060',
        'layerswarm agent --registry registry.example.com --max-disk 200GiB'
      )
    )
    .action(async () => {
      const { config } = await daemonConfig(command, agentOptions)
      const log = daemonLog('agent', config)
      const { startAgent } = await import('@layerswarm/agent/agent.ts')
      await runDaemon(log, () => startAgent(config, { log }))
    })
}
