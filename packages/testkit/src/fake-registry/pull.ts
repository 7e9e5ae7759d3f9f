import { isDigest } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import type { BlobStorage } from './blob-storage.ts'
import { bytesAsBlob, type Exchange, send, sendContent, sendError } from './reply.ts'
import type { Repositories } from './repositories.ts'
import type { Route } from './route.ts'

/** What pulling needs of the registry. */
export interface PullParts {
  readonly storage: BlobStorage
  readonly repositories: Repositories
  /** The address of a blob at the other origin. */
  redirectTarget(digest: string, uses: number): Promise<string>
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
      const { redirect } = exchange.fault
      if (redirect !== undefined) {
        const location = await parts.redirectTarget(reference, redirect.uses ?? Number.POSITIVE_INFINITY)
        return send(exchange, redirect.status ?? 307, { location })
      }
      const headers = { 'content-type': 'application/octet-stream', 'docker-content-digest': reference, etag: `"${reference}"` }
      return sendContent(exchange, headers, blob, range)
    }
    case 'manifest': {
      const manifest = parts.repositories.manifest(repository, reference)
      if (manifest === undefined) return sendError(exchange, 404, 'MANIFEST_UNKNOWN')
      const headers = { 'content-type': manifest.mediaType, 'docker-content-digest': manifest.digest, etag: `"${manifest.digest}"` }
      return sendContent(exchange, headers, bytesAsBlob(manifest.bytes), undefined)
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

async function serveTags(exchange: Exchange, name: string, all: readonly string[], query: URLSearchParams): Promise<void> {
  const last = query.get('last')
  const rest = last === null ? all : all.filter((tag) => tag > last)
  const n = query.get('n')
  const tags = n === null ? rest : rest.slice(0, Number(n))
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (tags.length < rest.length) headers.link = `</v2/${name}/tags/list?n=${n}&last=${tags.at(-1)}>; rel="next"`
  await send(exchange, 200, headers, Buffer.from(JSON.stringify({ name, tags })))
}
