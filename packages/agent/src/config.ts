import { hostPort, listenAddress, peerListenAddress, peerMultiaddr, registryHost } from '@layerswarm/core/config/addresses.ts'
import { commonOptions, hostName, httpListen, peerListen, requireKeyBeyondLoopback } from '@layerswarm/core/config/common-options.ts'
import { nameText, oneOf, onOff, path, textField } from '@layerswarm/core/config/fields.ts'
import { type ConfigOf, list, type OptionSet, option, optional } from '@layerswarm/core/config/options.ts'
import { rate, size } from '@layerswarm/core/config/quantities.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'

/** Public registries that most images come from; others are named by the operator, since `ns` comes from the network. */
const DEFAULT_REGISTRIES = ['docker.io', 'registry.k8s.io', 'ghcr.io', 'quay.io', 'gcr.io']

/** Where containerd, docker and containers/image (podman, buildah, CRI-O) keep registries' certificates. */
const DEFAULT_CERTS_DIRS = ['/etc/containerd/certs.d', '/etc/docker/certs.d', '/etc/containers/certs.d']

function pathOrNone(placeholder: string) {
  return textField<string>({
    placeholder,
    syntax: 'a path or none',
    parse: (text) => (text === 'none' ? text : path('FILE').schema.safeParse(text).data),
    format: (value) => value
  })
}

const agentSpecs = {
  mirrorListen: option(listenAddress, 'where container clients ask this mirror', { host: '127.0.0.1', port: 5050 }),
  adminListen: option(listenAddress, 'where health, metrics and the local API listen', { host: '127.0.0.1', port: 5051 }),
  p2pListen: peerListen('where other agents connect', 5052),
  tracker: list(peerMultiaddr, 'a tracker of the fleet, /ip4/…/tcp/…/p2p/ID; without /p2p/ID on a fleet with a cluster key'),
  announce: list(hostPort, 'address told to peers', {
    text: 'the address that the tracker sees, then routable interfaces',
    from: () => []
  }),
  name: hostName,
  zone: optional(nameText, 'where this host is: hosts take from others of their zone, and each byte is brought into it once'),
  registry: list(registryHost, 'a registry that this mirror may reach; given once, it replaces the default list', {
    text: DEFAULT_REGISTRIES.join(', '),
    from: ({ insecureRegistry }) => (insecureRegistry === undefined ? DEFAULT_REGISTRIES : [])
  }),
  insecureRegistry: list(registryHost, 'a registry that is reached over plain HTTP; implies --registry'),
  registryAuth: optional(
    pathOrNone('FILE|none'),
    "credentials of registries, in the format of docker's config.json, asked before the files of this user; none: send none at all",
    'REGISTRY_AUTH_FILE, then what podman login and docker login wrote'
  ),
  allowPush: option(
    onOff,
    'take pushes too (HOST:PORT/REGISTRY/NAME:TAG), and pass them on to the registry with the credentials of this host',
    false
  ),
  certsDir: list(path('DIR'), 'folders HOST[:PORT] with private authorities and client certificates of registries', {
    text: DEFAULT_CERTS_DIRS.join(', '),
    from: () => DEFAULT_CERTS_DIRS
  }),
  staleTags: option(
    oneOf(['off', 'host']),
    'when the registry cannot be reached, answer a tag with the last digest that this host knew (host) or fail (off)',
    'host'
  ),
  uploadLimit: optional(rate, 'most that this host sends to peers; clients on this host are not held back'),
  downloadLimit: optional(rate, 'most that this host receives, from peers and registries together'),
  registryLimit: optional(rate, 'most that this host receives from registries'),
  maxDisk: optional(size, 'most bytes of content kept on disk', "80 % of the file system's free space at first start"),
  containerdAddress: optional(
    pathOrNone('SOCKET|none'),
    "socket of this host's containerd, whose content is shared with the fleet where it lies; none: leave it alone",
    "address in /etc/containerd/config.toml, then the places of containerd's and k3s's packages"
  ),
  containerdRoot: optional(path('DIR'), "containerd's root directory as this process sees it", 'what containerd says'),
  keep: option(
    oneOf(['on', 'until-ingested']),
    "this agent's copy of a blob stays (on), or goes once containerd keeps the same blob for an image (until-ingested)",
    'on'
  ),
  ...commonOptions
}

export type AgentConfig = ConfigOf<typeof agentSpecs>

export const agentOptions: OptionSet<AgentConfig> = { name: 'agent', specs: agentSpecs, finish: finishAgent }

const standaloneSpecs = {
  ...agentSpecs,
  trackerListen: option(peerListenAddress, 'where the embedded tracker listens for other agents', { host: '127.0.0.1', port: 5060 }),
  httpListen
}

export type StandaloneConfig = ConfigOf<typeof standaloneSpecs>

/** An agent with an embedded tracker. */
export const standaloneOptions: OptionSet<StandaloneConfig> = {
  name: 'standalone',
  specs: standaloneSpecs,
  finish: (config) => {
    requireKeyBeyondLoopback('tracker-listen', config.trackerListen, config.clusterKey)
    return finishAgent(config)
  }
}

function finishAgent<C extends AgentConfig>(config: C): C {
  requireKeyBeyondLoopback('p2p-listen', config.p2pListen, config.clusterKey)
  const anonymous = config.tracker.find((address) => !address.includes('/p2p/'))
  if (anonymous !== undefined && config.clusterKey === undefined) {
    throw new LayerswarmError('CONFIG_INVALID', {
      detail: `--tracker ${anonymous} needs the tracker's id (${anonymous}/p2p/ID), or a fleet with a cluster key (--cluster-key FILE)`
    })
  }
  return { ...config, registry: [...new Set([...config.registry, ...config.insecureRegistry])] }
}
