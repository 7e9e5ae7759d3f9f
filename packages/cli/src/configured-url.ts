/** Addresses of daemons on this host: where their own configuration says that they listen. */
import { agentOptions, standaloneOptions } from '@layerswarm/agent/config.ts'
import { formatHostPort, type HostPort } from '@layerswarm/core/config/addresses.ts'
import { loadConfig } from '@layerswarm/core/config/load.ts'
import type { OptionSet } from '@layerswarm/core/config/options.ts'
import { trackerOptions } from '@layerswarm/tracker/config.ts'
import { type Command, Option } from 'commander'
import { DEFAULT_AGENT, DEFAULT_TRACKER, readUrl } from './urls.ts'

/** Where one daemon is configured to listen, if it is. @throws {LayerswarmError} CONFIG_INVALID */
type Configured = (config: string | undefined) => Promise<HostPort | undefined>

/** Whoever listens at all addresses is asked at one of them. */
const EVERYWHERE: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

/** Adds `--agent`. */
export function addAgentOption(command: Command): Command {
  const option = new Option('--agent <URL>', described("this host's agent", DEFAULT_AGENT))
  return addUrl(command, option, DEFAULT_AGENT, [listening(agentOptions, 'adminListen'), listening(standaloneOptions, 'adminListen')])
}

/** Adds `--tracker-url`. */
export function addTrackerUrlOption(command: Command): Command {
  const option = new Option('--tracker-url <URL>', described("the tracker's HTTP address", DEFAULT_TRACKER))
  return addUrl(command, option, DEFAULT_TRACKER, [listening(trackerOptions, 'httpListen'), listening(standaloneOptions, 'httpListen')])
}

/** Where to reach what listens there. */
export function urlAt({ host, port }: HostPort): string {
  return `http://${formatHostPort({ host: EVERYWHERE[host] ?? host, port })}`
}

function described(what: string, byDefault: string): string {
  return `${what} (default: where it is configured to listen on this host, else ${byDefault})`
}

function listening<F extends string, C extends { readonly [K in F]: HostPort }>(set: OptionSet<C>, field: F): Configured {
  return async (path) => {
    const { config, origins } = await loadConfig(set, { config: path })
    return origins[field].kind === 'default' || config[field].port === 0 ? undefined : config[field]
  }
}

function addUrl(command: Command, option: Option, byDefault: string, daemons: readonly Configured[]): Command {
  const name = option.attributeName()
  return command.addOption(option.argParser(readUrl)).hook('preAction', async () => {
    if (command.getOptionValue(name) !== undefined) return
    const { config } = command.opts<{ readonly config?: string }>()
    const found = await firstOf(daemons, config)
    command.setOptionValue(name, new URL(found === undefined ? byDefault : urlAt(found)))
  })
}

/** @param config the file that the user names, which then has to be valid for one of them; else that is the daemon's matter */
async function firstOf(daemons: readonly Configured[], config: string | undefined): Promise<HostPort | undefined> {
  const failures: unknown[] = []
  for (const daemon of daemons) {
    const found = await daemon(config).catch((error: unknown) => void failures.push(error))
    if (found !== undefined) return found
  }
  if (config !== undefined && failures.length === daemons.length) throw failures[0]
  return undefined
}
