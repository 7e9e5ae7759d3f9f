import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import { multiaddr } from '@multiformats/multiaddr'
import { type Field, textField } from './fields.ts'

export interface HostPort {
  /** A host name or an address; IPv6 without brackets. */
  readonly host: string
  readonly port: number
}

const HOST_PORT = /^(?:\[([^\]]+)\]|([^[\]:/]+)):(\d{1,5})$/
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_-]{1,63})*\.?$/

function isHost(host: string): boolean {
  return isIPv4(host) || (HOST_NAME.test(host) && !/^[\d.]+$/.test(host))
}

function parseHostPort(text: string, lowestPort: number): HostPort | undefined {
  const match = HOST_PORT.exec(text.toLowerCase())
  if (match === null) return undefined
  const [, bracketed, bare = '', digits] = match
  const port = Number(digits)
  if (port < lowestPort || port > 65535) return undefined
  if (bracketed !== undefined) return isIPv6(bracketed) ? { host: bracketed, port } : undefined
  return isHost(bare) ? { host: bare, port } : undefined
}

export function formatHostPort({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

/** Where others connect to. */
export const hostPort: Field<HostPort> = textField<HostPort>({
  placeholder: 'HOST:PORT',
  syntax: 'HOST:PORT, as host-1.example.com:5052 or [2001:db8::1]:5052',
  parse: (text) => parseHostPort(text, 1),
  format: formatHostPort
})

/** Where to listen; port 0 lets the system choose one. */
export const listenAddress: Field<HostPort> = textField<HostPort>({
  placeholder: 'HOST:PORT',
  syntax: 'HOST:PORT, as 127.0.0.1:5050 or [::1]:5050',
  parse: (text) => parseHostPort(text, 0),
  format: formatHostPort
})

/** Where to listen for peers: an address, since what it is decides whether a cluster key is needed. */
export const peerListenAddress: Field<HostPort> = textField<HostPort>({
  placeholder: 'HOST:PORT',
  syntax: 'ADDRESS:PORT with an IP address, as 0.0.0.0:5052 or [::]:5052',
  parse: (text) => {
    const value = parseHostPort(text, 0)
    if (value === undefined) return undefined
    const host = value.host === 'localhost' ? '127.0.0.1' : value.host
    return isIP(host) === 0 ? undefined : { host, port: value.port }
  },
  format: formatHostPort
})

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** Whether only this machine can reach the address. A name other than localhost is taken as reachable from outside. */
export function isLoopback(host: string): boolean {
  const family = isIP(host)
  return family === 0 ? host === 'localhost' : loopback.check(host, family === 6 ? 'ipv6' : 'ipv4')
}

/** The libp2p form, without a peer id: `/ip4/…/tcp/…`, `/ip6/…/tcp/…` or `/dns/…/tcp/…`. */
export function toMultiaddr({ host, port }: HostPort): string {
  const protocol = { 0: 'dns', 4: 'ip4', 6: 'ip6' }[isIP(host)]
  return `/${protocol}/${host}/tcp/${port}`
}

/** A TCP address in libp2p's form, with or without `/p2p/ID` at its end. */
export const peerMultiaddr: Field<string> = textField<string>({
  placeholder: 'MULTIADDR',
  syntax: 'a TCP multiaddr, as /ip4/192.0.2.1/tcp/5060/p2p/ID',
  parse: (text) => {
    try {
      const address = multiaddr(text)
      const [host, transport, identity, ...rest] = address.getComponents().map(({ name }) => name)
      const known = ['ip4', 'ip6', 'dns', 'dns4', 'dns6'].includes(host ?? '') && transport === 'tcp'
      return known && (identity ?? 'p2p') === 'p2p' && rest.length === 0 ? address.toString() : undefined
    } catch {
      return undefined
    }
  },
  format: (value) => value
})

/** A registry as image references name it: no scheme, no path, the port only where it is not the usual one. */
export const registryHost: Field<string> = textField<string>({
  placeholder: 'HOST',
  syntax: 'a registry HOST or HOST:PORT, as registry.example.com:5000, without a scheme or path',
  parse: (text) => {
    const host = text.toLowerCase()
    if (isHost(host)) return host
    const value = parseHostPort(host, 1)
    return value && formatHostPort(value)
  },
  format: (value) => value
})
