import { hostname, networkInterfaces } from 'node:os'

/** Where this mirror listens; undefined while it does not. */
export interface OwnAddress {
  readonly port: number
}

/** Ports that a registry name without one may mean. */
const UNWRITTEN_PORTS = [80, 443]

/**
 * Whether a registry's name leads back to this mirror, which would then ask itself without end: the name that the
 * request itself came to (`Host`), or one of this machine's with the mirror's own port.
 */
export function namesSelf(registry: string, own: OwnAddress | undefined, hostHeader: string | undefined): boolean {
  if (hostHeader?.toLowerCase() === registry) return true
  if (own === undefined) return false
  const [, bracketed, plain, port] = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(registry) ?? []
  const ports = port === undefined ? UNWRITTEN_PORTS : [Number(port)]
  return ports.includes(own.port) && isThisMachine(bracketed ?? plain ?? '')
}

function isThisMachine(host: string): boolean {
  if (host === 'localhost' || host.endsWith('.localhost') || host === hostname().toLowerCase()) return true
  if (host.startsWith('127.') || ['0.0.0.0', '::', '::1'].includes(host)) return true
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === host))
}
