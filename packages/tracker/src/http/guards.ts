import { LayerswarmError } from '@layerswarm/core/errors.ts'

const READING = new Set(['GET', 'HEAD'])

/** Whether a request of this method may change something. */
export function isChange(method: string): boolean {
  return !READING.has(method)
}

/**
 * Refuses what a page of another site asks for. Browsers name the site with every request that may change something;
 * what names none is no page.
 * @param origin the request's `Origin`
 * @param host its `Host`
 * @throws {LayerswarmError} ORIGIN_NOT_ALLOWED
 */
export function checkOrigin(origin: string | undefined, host: string | undefined): void {
  if (origin === undefined) return
  const url = URL.parse(origin)
  const own = (url?.protocol === 'http:' || url?.protocol === 'https:') && host !== undefined && url.host === host.toLowerCase()
  if (!own) throw new LayerswarmError('ORIGIN_NOT_ALLOWED', { detail: JSON.stringify(origin.slice(0, 100)) })
}
