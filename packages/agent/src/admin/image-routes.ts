import { Readable } from 'node:stream'
import { BLOBS_PATH, CHECK_PATH, CONTENT_PATH, checkRequest, contentQuery, GC_PATH, IMAGES_PATH } from '@layerswarm/core/api/images-api.ts'
import { PUSH_PATH, pushRequest } from '@layerswarm/core/api/push-api.ts'
import { parseDigest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { MAX_BLOB_SIZE } from '@layerswarm/core/piece-layout.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { z } from 'zod'
import type { BlobStore, LocalImageService, OpenContent } from '../ports.ts'
import { sendLines, signalOf, streamWork } from './line-stream.ts'

export interface ImageRoutesDeps {
  readonly local: LocalImageService
  readonly store: Pick<BlobStore, 'list' | 'stat'>
  /** Ends what runs, as the agent does. */
  readonly stopping: AbortSignal
}

/** What is asked about images and blobs held here. */
export function addImageRoutes(app: FastifyInstance, { local, store, stopping }: ImageRoutesDeps): void {
  // Content is read as it comes, not gathered.
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload))

  app.get(IMAGES_PATH, (request, reply) => {
    const { platform } = request.query as { platform?: string | string[] }
    const platforms = platform === undefined || platform === 'all' ? platform : [platform].flat()
    return sendLines(reply, stopping, (signal) => local.list(platforms, { signal }))
  })
  app.get(BLOBS_PATH, (request, reply) =>
    sendLines(reply, stopping, (signal) =>
      (request.query as { images?: string }).images === 'true' ? local.blobs({ signal }) : store.list()
    )
  )
  app.get(`${BLOBS_PATH}/:digest`, { exposeHeadRoute: false }, async (request) => {
    const digest = digestIn(request)
    const stat = await store.stat(digest)
    if (stat === undefined) throw new LayerswarmError('BLOB_UNKNOWN', { detail: digest })
    return stat
  })
  app.post(`${BLOBS_PATH}/:digest`, async (request) => {
    const digest = digestIn(request)
    const size = Number(request.headers['content-length'])
    if (!Number.isSafeInteger(size) || size > MAX_BLOB_SIZE || !(request.body instanceof Readable)) {
      throw new LayerswarmError('REQUEST_INVALID', { detail: 'the blob is to be sent as application/octet-stream, its length before it' })
    }
    await local.put({ digest, size }, request.body, { signal: stopping })
    return { digest, size }
  })
  app.get(`${CONTENT_PATH}/:digest`, { exposeHeadRoute: false }, async (request, reply) => {
    const { scope, kind } = parsed(contentQuery, request.query)
    const slash = scope.indexOf('/')
    const ref = { registry: scope.slice(0, slash), repository: scope.slice(slash + 1), digest: digestIn(request), kind }
    const signal = AbortSignal.any([signalOf(reply.raw), stopping])
    const open = await local.content(ref, { signal })
    return reply.type('application/octet-stream').header('content-length', open.size).send(bodyOf(open, signal))
  })
  app.post(CHECK_PATH, (request, reply) => {
    const wanted = parsed(checkRequest, request.body)
    return sendLines(reply, stopping, (signal) => local.check(wanted, { signal }))
  })
  app.post(GC_PATH, async (_request, reply) => await local.gc({ signal: AbortSignal.any([signalOf(reply.raw), stopping]) }))
  app.post(PUSH_PATH, async (request, reply) => {
    const wanted = parsed(pushRequest, request.body)
    reply.hijack()
    reply.raw.setHeader('Connection', 'close')
    await streamWork(reply.raw, stopping, (how) => local.push(wanted, how))
  })
}

function digestIn({ params }: FastifyRequest) {
  return parseDigest((params as { digest: string }).digest)
}

/** Disposes the content once it was sent, or need not be: a client may go before the first byte is asked for. */
function bodyOf(content: OpenContent, signal: AbortSignal): Readable {
  const bytes = content.size > 0 ? content.read({ start: 0, end: content.size }, { signal }) : []
  return Readable.from(bytes).once('close', () => void Promise.resolve(content[Symbol.asyncDispose]()).catch(() => undefined))
}

/** @throws {LayerswarmError} REQUEST_INVALID */
function parsed<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.map(({ path, message }) => `${path.join('.') || 'request'}: ${message}`)
  throw new LayerswarmError('REQUEST_INVALID', { detail: issues.join('; ') })
}
