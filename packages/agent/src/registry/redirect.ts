import { LayerswarmError } from '@layerswarm/core/errors.ts'

export function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status)
}

/** Same scheme, host and port: the only place where credentials for `a` may go. */
export function sameOrigin(a: URL, b: URL): boolean {
  return a.protocol === b.protocol && a.host === b.host
}

/**
 * Where a redirect leads.
 * @param insecure plain HTTP is allowed for this registry
 * @throws {LayerswarmError} REGISTRY_FAILED for no address, another scheme, or a step from https to http
 */
export function redirectTarget(registry: string, from: URL, location: string | undefined, insecure: boolean): URL {
  const target = location === undefined ? null : URL.parse(location, from.href)
  if (target === null) throw new LayerswarmError('REGISTRY_FAILED', { detail: `${registry} redirects to no valid address` })
  if (target.protocol === 'https:' || (target.protocol === 'http:' && insecure)) return target
  throw new LayerswarmError('REGISTRY_FAILED', {
    detail: `${registry} redirects to ${target.protocol}//${target.host}, which is not secure; it is followed only with --insecure-registry`
  })
}
