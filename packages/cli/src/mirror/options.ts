import { resolve } from 'node:path'
import type { AgentConfig } from '@layerswarm/agent/config.ts'
import type { ConfigPlaces } from '@layerswarm/agent/runtime/mirror-setup.ts'
import type { MirrorSettings } from '@layerswarm/agent/runtime/setup.ts'
import type { Loaded } from '@layerswarm/core/config/load.ts'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { urlAt } from '../configured-url.ts'

export const DEFAULT_MIRROR = 'http://127.0.0.1:5050'

/** Where runtimes keep their configuration, for hosts where it is elsewhere. */
export function addPlaces(command: Command): Command {
  return command
    .addOption(new Option('--containerd-config <FILE>', "containerd's configuration (default: /etc/containerd/config.toml)"))
    .addOption(new Option('--docker-config <FILE>', "dockerd's configuration (default: /etc/docker/daemon.json)"))
    .addOption(
      new Option('--registries-conf-dir <DIR>', 'folder of podman, buildah and CRI-O (default: /etc/containers/registries.conf.d)')
    )
}

/** What `addPlaces` collected. */
export function placesOf({ containerdConfig, dockerConfig, registriesConfDir }: ConfigPlaces): ConfigPlaces {
  return {
    containerdConfig: absolute(containerdConfig),
    dockerConfig: absolute(dockerConfig),
    registriesConfDir: absolute(registriesConfDir)
  }
}

/** @throws {InvalidArgumentError} for what is not scheme, host and port alone: dockerd would not start with a path */
export function readMirrorUrl(text: string): string {
  const url = URL.parse(text)
  const isPlain = url !== null && ['http:', 'https:'].includes(url.protocol) && `${url.origin}/` === url.href && !/[?#]/.test(text)
  if (!isPlain) throw new InvalidArgumentError(`Not a URL without a path, as ${DEFAULT_MIRROR}.`)
  return url.origin
}

/** @param mirrorUrl what the user says; by default where the agent is configured to listen for clients */
export function settingsOf({ config, origins }: Loaded<AgentConfig>, mirrorUrl = mirrorUrlOf(config)): MirrorSettings {
  return { mirrorUrl, registries: config.registry, onlyRegistries: origins.registry.kind === 'flag' }
}

function mirrorUrlOf({ mirrorListen }: AgentConfig): string {
  return mirrorListen.port === 0 ? DEFAULT_MIRROR : urlAt(mirrorListen)
}

function absolute(path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(path)
}
