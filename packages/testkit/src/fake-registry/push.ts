import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { type Digest, digestOf, isDigest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { childrenOf, isManifestType, MAX_MANIFEST_BYTES, parseManifest } from '@layerswarm/core/image/manifest.ts'
import type { BlobStorage, BlobUpload } from './blob-storage.ts'
import { type Exchange, send, sendError } from './reply.ts'
import type { Repositories } from './repositories.ts'
import type { Route } from './route.ts'

interface Session {
  readonly id: string
  readonly repository: string
  readonly upload: BlobUpload
}

/** The writing half of the distribution API: uploads (monolithic, chunked, mounted) and manifests. */
export class Push {
  readonly #storage: BlobStorage
  readonly #repositories: Repositories
  readonly #sessions = new Map<string, Session>()

  constructor(storage: BlobStorage, repositories: Repositories) {
    this.#storage = storage
    this.#repositories = repositories
  }

  get open(): number {
    return this.#sessions.size
  }

  async serve(exchange: Exchange, request: IncomingMessage, route: Route, query: URLSearchParams): Promise<void> {
    const { kind, repository = '', reference } = route
    if (kind === 'manifest' && request.method === 'PUT') return this.#putManifest(exchange, request, repository, reference ?? '')
    if (kind !== 'upload') return sendError(exchange, 405, 'UNSUPPORTED', { allow: 'GET, HEAD' })
    if (request.method === 'POST') return this.#start(exchange, request, repository, query)
    const session = this.#sessions.get(reference ?? '')
    if (session === undefined || session.repository !== repository) return sendError(exchange, 404, 'BLOB_UPLOAD_UNKNOWN')
    switch (request.method) {
      case 'GET':
        return send(exchange, 204, progress(session))
      case 'PATCH':
        return this.#patch(exchange, request, session)
      case 'PUT':
        return this.#finish(exchange, request, session, query)
      case 'DELETE':
        this.#sessions.delete(session.id)
        await session.upload.discard()
        return send(exchange, 204, {})
      default:
        return sendError(exchange, 405, 'UNSUPPORTED')
    }
  }

  /** Drops what was never finished. */
  async close(): Promise<void> {
    const open = [...this.#sessions.values()]
    this.#sessions.clear()
    await Promise.all(open.map(({ upload }) => upload.discard()))
  }

  async #start(exchange: Exchange, request: IncomingMessage, repository: string, query: URLSearchParams): Promise<void> {
    const mount = query.get('mount')
    const from = this.#repositories.get(query.get('from') ?? '')
    if (mount !== null && isDigest(mount) && from?.blobs.has(mount) === true) {
      this.#repositories.ensure(repository).blobs.add(mount)
      return send(exchange, 201, created(repository, mount))
    }
    const session = { id: randomUUID(), repository, upload: await this.#storage.begin() }
    this.#sessions.set(session.id, session)
    if (query.has('digest')) return this.#finish(exchange, request, session, query)
    return send(exchange, 202, progress(session))
  }

  async #patch(exchange: Exchange, request: IncomingMessage, session: Session): Promise<void> {
    const start = /^(?:bytes )?(\d+)-\d+$/.exec(request.headers['content-range'] ?? '')?.[1]
    if (start !== undefined && Number(start) !== session.upload.size) {
      return sendError(exchange, 416, 'RANGE_INVALID', progress(session))
    }
    await receive(exchange, request, session)
    return send(exchange, 202, progress(session))
  }

  async #finish(exchange: Exchange, request: IncomingMessage, session: Session, query: URLSearchParams): Promise<void> {
    const digest = query.get('digest') ?? ''
    // What breaks off before its end can be taken up.
    await receive(exchange, request, session)
    this.#sessions.delete(session.id)
    if (!isDigest(digest)) {
      await session.upload.discard()
      return sendError(exchange, 400, 'DIGEST_INVALID')
    }
    if (!(await session.upload.commit(digest))) return sendError(exchange, 400, 'DIGEST_INVALID')
    this.#repositories.ensure(session.repository).blobs.add(digest)
    return send(exchange, 201, created(session.repository, digest))
  }

  async #putManifest(exchange: Exchange, request: IncomingMessage, name: string, reference: string): Promise<void> {
    const bytes = await buffer(request)
    if (bytes.byteLength > MAX_MANIFEST_BYTES) return sendError(exchange, 413, 'SIZE_INVALID')
    const mediaType = request.headers['content-type'] ?? ''
    const digest = digestOf(bytes, isDigest(reference) ? reference : undefined)
    if (reference.includes(':') && digest !== reference) return sendError(exchange, 400, 'DIGEST_INVALID')
    try {
      const repository = this.#repositories.ensure(name)
      const missing = childrenOf(parseManifest(bytes, mediaType)).some(({ digest: child, mediaType: type }) =>
        isManifestType(type) ? !repository.manifests.has(child) : !repository.blobs.has(child)
      )
      if (missing) return sendError(exchange, 400, 'MANIFEST_BLOB_UNKNOWN')
    } catch (error) {
      if (!isLayerswarmError(error)) throw error
      return sendError(exchange, 400, 'MANIFEST_INVALID')
    }
    storeManifest(this.#repositories, name, { digest, tag: isDigest(reference) ? undefined : reference }, bytes, mediaType)
    return send(exchange, 201, { location: `/v2/${name}/manifests/${digest}`, 'docker-content-digest': digest })
  }
}

/** Names a manifest in a repository, and tags it. What it names may be missing. */
export function storeManifest(
  repositories: Repositories,
  name: string,
  { digest, tag }: { readonly digest: Digest; readonly tag?: string | undefined },
  bytes: Uint8Array,
  mediaType: string
): void {
  const { subject, artifactType } = JSON.parse(Buffer.from(bytes).toString()) as { subject?: { digest: Digest }; artifactType?: string }
  const repository = repositories.ensure(name)
  repository.manifests.set(digest, { digest, mediaType, bytes, subject: subject?.digest, artifactType })
  if (tag !== undefined) repository.tags.set(tag, digest)
}

async function receive({ fault, response }: Exchange, request: IncomingMessage, { upload }: Session): Promise<void> {
  const most = fault.breakUploadAfter
  if (most === undefined) return upload.append(request)
  await upload.append(firstOf(request, most))
  response.socket?.resetAndDestroy()
  throw new Error('broken as told')
}

async function* firstOf(chunks: AsyncIterable<Uint8Array>, bytes: number): AsyncIterable<Uint8Array> {
  let left = bytes
  for await (const chunk of chunks) {
    if (left > 0) yield chunk.subarray(0, left)
    left -= chunk.byteLength
    if (left <= 0) return
  }
}

function progress({ id, repository, upload }: Session): Record<string, string> {
  return {
    location: `/v2/${repository}/blobs/uploads/${id}`,
    range: `0-${Math.max(0, upload.size - 1)}`,
    'docker-upload-uuid': id
  }
}

function created(repository: string, digest: Digest): Record<string, string> {
  return { location: `/v2/${repository}/blobs/${digest}`, 'docker-content-digest': digest }
}
