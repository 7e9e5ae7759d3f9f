import type { Clock } from '@layerswarm/core/clock.ts'
import { within } from '@layerswarm/core/deadline.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import type { RegistryClient } from '../ports.ts'
import type { Exchange } from './exchange.ts'
import type { Outcome } from './outcome.ts'
import { DOCUMENT_MS } from './patience.ts'
import type { Target } from './request-target.ts'

export interface DocumentDeps {
  readonly registry: Pick<RegistryClient, 'document'>
  readonly clock: Clock
}

type DocumentTarget = Extract<Target, { type: 'tags' | 'referrers' }>

/** Parameters that mean something to a registry; no other is passed on. */
const PARAMETERS = { tags: ['n', 'last'], referrers: ['artifactType', 'n', 'last'] } as const

/**
 * Passes a list of tags or of referrers on from the registry. It lists what is there now, so it is never answered from
 * here: an empty list of referrers for a manifest that we merely do not know would hide its signatures.
 */
export async function serveDocument(deps: DocumentDeps, exchange: Exchange, target: DocumentTarget, outcome: Outcome): Promise<void> {
  const { type, registry, repository } = target
  const path = type === 'tags' ? 'tags/list' : `referrers/${target.digest}`
  const query = passedOn(type, target.query)
  const asked = query.size === 0 ? path : `${path}?${query}`
  const late = () => new LayerswarmError('STALLED', { detail: `no answer within ${DOCUMENT_MS} ms` })
  const reply = await within({ clock: deps.clock, ms: DOCUMENT_MS, late, signal: exchange.signal }, (signal) =>
    deps.registry.document(registry, repository, asked, { signal })
  )
  const mediaType = (reply.headers['content-type'] ?? '').split(';')[0]?.trim() ?? ''
  if (reply.status !== 200 || (type === 'referrers' && mediaType !== MEDIA_TYPES.ociIndex)) {
    throw new LayerswarmError('NOT_FOUND', { detail: `status ${reply.status}` })
  }
  const next = nextPage(reply.headers.link, `/v2/${target.written}/${path}`, target)
  const filters = reply.headers['oci-filters-applied']
  outcome.source = 'registry'
  outcome.sent(reply.body.byteLength)
  await exchange.send(
    200,
    {
      'Content-Type': mediaType === '' ? 'application/json' : mediaType,
      'Content-Length': reply.body.byteLength,
      'X-Layerswarm-Source': 'registry',
      ...(next === undefined ? {} : { Link: next }),
      ...(filters === undefined ? {} : { 'OCI-Filters-Applied': filters })
    },
    reply.body
  )
}

function passedOn(type: DocumentTarget['type'], given: URLSearchParams): URLSearchParams {
  const query = new URLSearchParams()
  for (const name of PARAMETERS[type]) for (const value of given.getAll(name)) query.append(name, value)
  return query
}

/** The registry's link to the next page, as a path of this mirror. */
function nextPage(link: string | undefined, path: string, target: DocumentTarget): string | undefined {
  const url = /<([^>]*)>\s*;\s*rel="?next"?/i.exec(link ?? '')?.[1]
  if (url === undefined) return undefined
  const query = passedOn(target.type, new URLSearchParams(url.slice(url.indexOf('?') + 1)))
  if (target.byNamespace) query.set('ns', target.registry)
  return `<${path}?${query}>; rel="next"`
}
