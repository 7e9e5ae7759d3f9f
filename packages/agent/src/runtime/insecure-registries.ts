import { lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'

/** dockerd trusts the host it runs on without being told. */
const LOOPBACK: Network = { address: '127.0.0.0', prefix: 8, family: 'ipv4' }

/**
 * Whether dockerd speaks to a registry without verified TLS, by its `insecure-registries`: names of registries, or networks
 * that their addresses lie in.
 * @param registry `host` or `host:port`
 */
export async function isInsecureRegistry(registry: string, insecure: readonly string[]): Promise<boolean> {
  if (insecure.includes(registry)) return true
  const networks = insecure.flatMap(networkOf)
  const host = registry.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  const isHere = host === 'localhost' || isIP(host) !== 0
  // A name that is looked up where no network asks for it would hold up an install without a network.
  if (networks.length === 0 && !isHere) return false
  const list = new BlockList()
  for (const { address, prefix, family } of [LOOPBACK, ...networks]) list.addSubnet(address, prefix, family)
  const addresses = await lookup(host, { all: true }).catch(() => [])
  return addresses.some(({ address, family }) => list.check(address, family === 6 ? 'ipv6' : 'ipv4'))
}

interface Network {
  readonly address: string
  readonly prefix: number
  readonly family: 'ipv4' | 'ipv6'
}

function networkOf(entry: string): Network[] {
  const [, address = '', prefix = ''] = /^([^/]+)\/(\d{1,3})$/.exec(entry) ?? []
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  const isNetwork = isIP(address) !== 0 && Number(prefix) <= (family === 'ipv4' ? 32 : 128)
  return isNetwork ? [{ address, prefix: Number(prefix), family }] : []
}
