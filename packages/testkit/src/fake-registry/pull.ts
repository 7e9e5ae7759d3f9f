import { isDigest } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import type { BlobStorage, StoredBlob } from './blob-storage.ts'
import { bytesAsBlob, type Exchange, send, sendContent, sendError } from './reply.ts'
import type { Repositories } from './repositories.ts'
import type { Route } from './route.ts'

/** Content as it is sent, wherever that is from. */
export interface StoredContent {
  readonly digest: string
  readonly mediaType: string
  readonly blob: StoredBlob
}

/** What pulling needs of the registry. */
export interface PullParts {
  readonly storage: BlobStorage
  readonly repositories: Repositories
  /** The address of content at the other origin. */
  redirectTarget(content: StoredContent, uses: number): string
}

/** GET and HEAD of the distribution API. */
export async function servePull(
  parts: PullParts,
  exchange: Exchange,
  route: Route,
  query: URLSearchParams,
  range: string | undefined
): Promise<void> {
  const { repository = '', reference = '' } = route
  const known = parts.repositories.get(repository)
  switch (route.kind) {
    case 'ping':
      return send(exchange, 200, { 'content-type': 'application/json' }, Buffer.from('{}'))
    case 'blob': {
      const blob = isDigest(reference) && known?.blobs.has(reference) === true ? parts.storage.get(reference) : undefined
      if (blob === undefined) return sendError(exchange, 404, 'BLOB_UNKNOWN')
      return serve(parts, exchange, { digest: reference, mediaType: 'application/octet-stream', blob }, range)
    }
    case 'manifest': {
      const manifest = parts.repositories.manifest(repository, reference)
      if (manifest === undefined) return sendError(exchange, 404, 'MANIFEST_UNKNOWN')
      return serve(parts, exchange, { ...manifest, blob: bytesAsBlob(manifest.bytes) }, undefined)
    }
    case 'tags': {
      if (known === undefined) return sendError(exchange, 404, 'NAME_UNKNOWN')
      return serveTags(exchange, repository, [...known.tags.keys()].sort(), query)
    }
    case 'referrers': {
      const manifests = [...(known?.manifests.values() ?? [])]
        .filter((manifest) => manifest.subject === reference)
        .map(({ mediaType, digest, bytes, artifactType }) => ({ mediaType, digest, size: bytes.byteLength, artifactType }))
      const body = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }))
      return send(exchange, 200, { 'content-type': MEDIA_TYPES.ociIndex }, body)
    }
    default:
      return sendError(exchange, 404, 'NOT_FOUND')
  }
}

async function serve(parts: PullParts, exchange: Exchange, content: StoredContent, range: string | undefined): Promise<void> {
  const { redirect } = exchange.fault
  if (redirect === undefined) return sendStored(exchange, content, range)
  const location = parts.redirectTarget(content, redirect.uses ?? Number.POSITIVE_INFINITY)
  return send(exchange, redirect.status ?? 307, { location })
}

export function sendStored(exchange: Exchange, { digest, mediaType, blob }: StoredContent, range: string | undefined): Promise<void> {
  const headers = { 'content-type': mediaType, 'docker-content-digest': digest, etag: `"${digest}"` }
  return sendContent(exchange, headers, blob, range)
}

async function serveTags(exchange: Exchange, name: string, all: readonly string[], query: URLSearchParams): Promise<void> {
  const last = query.get('last')
  const rest = last === null ? all : all.filter((tag) => tag > last)
  const n = query.get('n')
  const tags = n === null ? rest : rest.slice(0, Number(n))
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (tags.length < rest.length) headers.link = `</v2/${name}/tags/list?n=${n}&last=${tags.at(-1)}>; rel="next"`
  await send(exchange, 200, headers, Buffer.from(JSON.stringify({ name, tags })))
}
