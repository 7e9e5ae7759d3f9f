import { join } from 'node:path'
import { LayerswarmError } from '../errors.ts'
import { LOG_FORMATS, LOG_LEVELS } from '../log.ts'
import { formatHostPort, type HostPort, isLoopback, listenAddress, peerListenAddress } from './addresses.ts'
import { nameText, oneOf, path } from './fields.ts'
import { derived, type OptionSpec, option, optional } from './options.ts'

/** What every daemon has. */
export const commonOptions = {
  dataDir: derived(path('DIR'), 'where this host keeps its identity and content', {
    text: '/var/lib/layerswarm, or layerswarm under XDG_DATA_HOME for a user who is not root',
    from: (_, { root, env, home }) =>
      root ? '/var/lib/layerswarm' : join(env.XDG_DATA_HOME || join(home, '.local', 'share'), 'layerswarm')
  }),
  clusterKey: optional(path('FILE'), "the fleet's secret, the same file on every host (make one: layerswarm cluster-key new)"),
  logLevel: option(oneOf(LOG_LEVELS, 'LEVEL'), `least level of what is logged: ${LOG_LEVELS.join(', ')}`, 'info'),
  logFormat: derived(oneOf(LOG_FORMATS), 'how log lines look', {
    text: 'pretty on a terminal, json elsewhere',
    from: (_, { terminal }) => (terminal ? 'pretty' : 'json')
  })
}

/** The tracker's HTTP side, also where it is embedded. */
export const httpListen = option(
  listenAddress,
  "where the tracker's HTTP API and page listen; browsers refuse port 5061, so choose another to look at the page",
  { host: '127.0.0.1', port: 5061 }
)

/** How this host is called by people. */
export const hostName = derived(nameText, 'how people call this host', { text: "the host's name", from: (_, { hostname }) => hostname })

/** An address for peers: without a cluster key anybody could speak there, so the default then stays on this machine. */
export function peerListen(help: string, port: number): OptionSpec<HostPort> {
  return derived(peerListenAddress, help, {
    text: `0.0.0.0:${port} with a cluster key, 127.0.0.1:${port} without`,
    from: ({ clusterKey }) => ({ host: clusterKey === undefined ? '127.0.0.1' : '0.0.0.0', port })
  })
}

/** @throws {LayerswarmError} CLUSTER_KEY_NEEDED when `address` is reachable from other machines and there is no key. */
export function requireKeyBeyondLoopback(flag: string, address: HostPort, clusterKey: string | undefined): void {
  if (clusterKey === undefined && !isLoopback(address.host)) {
    throw new LayerswarmError('CLUSTER_KEY_NEEDED', { detail: `--${flag} ${formatHostPort(address)}` })
  }
}
