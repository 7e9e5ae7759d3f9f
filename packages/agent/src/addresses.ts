import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { type HostPort, toMultiaddr } from '@layerswarm/core/config/addresses.ts'

/** Interfaces that lead to containers and virtual machines of this host, not to other hosts. */
const INNER = /^(docker|br-|veth|cni|flannel|virbr|cali|podman|nerdctl|lxc|kube|dummy)/
const UNSPECIFIED = ['0.0.0.0', '::']
const LINK_LOCAL = /^(169\.254\.|fe80:)/i

export interface ReachableAt {
  /** The p2p port at the address that a tracker sees; 0 when only the addresses named here count. */
  readonly port: number
  /** Multiaddrs without a peer id. */
  readonly addrs: readonly string[]
}

/**
 * Where other agents are told to connect: what the operator announces; else the address that the tracker sees and,
 * for a host that listens everywhere, those of its routable interfaces.
 */
export function reachableAt(
  listen: HostPort,
  announce: readonly HostPort[],
  interfaces: NodeJS.Dict<NetworkInterfaceInfo[]> = networkInterfaces()
): ReachableAt {
  if (announce.length > 0) return { port: 0, addrs: announce.map(toMultiaddr) }
  if (!UNSPECIFIED.includes(listen.host)) return { port: listen.port, addrs: [toMultiaddr(listen)] }
  const routable = Object.entries(interfaces)
    .filter(([name]) => !INNER.test(name))
    .flatMap(([, addresses]) => addresses ?? [])
    .filter(({ internal, address, family }) => !internal && !LINK_LOCAL.test(address) && (listen.host === '::' || family === 'IPv4'))
  return { port: listen.port, addrs: routable.map(({ address }) => toMultiaddr({ host: address, port: listen.port })) }
}
