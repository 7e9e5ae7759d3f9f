import { hostname } from 'node:os'
import { isLoopback } from './config/addresses.ts'
import { LayerswarmError } from './errors.ts'

/**
 * Refuses a request that came by a name which is not this machine's. A web page may point a name of its own at
 * 127.0.0.1 and then read from a loopback port what the browser takes for its own site; the name in `Host` gives it
 * away. Beyond loopback any name may be right.
 * @param bound the address listened on
 * @param host the request's `Host`; what sends none is no browser
 * @throws {LayerswarmError} HOST_NOT_ALLOWED
 */
export function checkHost(bound: string, host: string | undefined): void {
  if (host === undefined || !isLoopback(bound)) return
  const [, bracketed, plain] = /^(?:\[(.*)\]|([^:]*))(?::\d+)?$/.exec(host) ?? []
  const name = (bracketed ?? plain ?? '').toLowerCase()
  if (isLoopback(name) || name === hostname().toLowerCase()) return
  throw new LayerswarmError('HOST_NOT_ALLOWED', { detail: JSON.stringify(host.slice(0, 100)) })
}
