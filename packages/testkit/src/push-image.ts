import { Readable } from 'node:stream'
import type { Digest } from '@layerswarm/core/digest.ts'
import { Agent, type Dispatcher, request } from 'undici'
import type { TestBlob } from './oci-image/layer.ts'
import type { TestImage } from './oci-image.ts'

export interface PushOptions {
  /** For a registry that asks who is there. */
  readonly authorization?: string
}

/**
 * Uploads an image: missing blobs first, then manifests, the tag last.
 * @param registryUrl `http://host:port`
 * @throws {Error} when the registry refuses a step
 */
export async function pushImage(
  image: TestImage,
  registryUrl: string,
  repository: string,
  tag: string,
  { authorization }: PushOptions = {}
): Promise<void> {
  const dispatcher = new Agent().compose((dispatch) => (options, handler) => {
    const headers = { ...(options.headers as Record<string, string>), ...(authorization && { authorization }) }
    return dispatch({ ...options, headers }, handler)
  })
  const base = `${registryUrl}/v2/${repository}`
  try {
    for (const blob of image.blobs.values()) await pushBlob(dispatcher, registryUrl, base, blob)
    for (const { descriptor, bytes } of image.manifests) {
      const references: (Digest | string)[] = descriptor.digest === image.root.digest ? [descriptor.digest, tag] : [descriptor.digest]
      for (const reference of references) {
        const headers = { 'content-type': descriptor.mediaType }
        await step(`${base}/manifests/${reference}`, { dispatcher, method: 'PUT', headers, body: bytes }, 201)
      }
    }
  } finally {
    await dispatcher.close()
  }
}

type StepOptions = NonNullable<Parameters<typeof request>[1]>

async function step(url: string, options: StepOptions, ...expected: number[]): Promise<Dispatcher.ResponseData<unknown>> {
  const reply = await request(url, options)
  const text = await reply.body.text()
  if (expected.includes(reply.statusCode)) return reply
  throw new Error(`${options.method} ${url}: ${reply.statusCode} ${text}`)
}

async function pushBlob(dispatcher: Dispatcher, registryUrl: string, base: string, blob: TestBlob): Promise<void> {
  const known = await step(`${base}/blobs/${blob.digest}`, { dispatcher, method: 'HEAD' }, 200, 404)
  if (known.statusCode === 200) return
  const started = await step(`${base}/blobs/uploads/`, { dispatcher, method: 'POST' }, 202)
  const location = new URL(String(started.headers.location), registryUrl)
  location.searchParams.set('digest', blob.digest)
  const headers = { 'content-type': 'application/octet-stream', 'content-length': String(blob.size) }
  await step(location.href, { dispatcher, method: 'PUT', headers, body: Readable.from(blob.open()) }, 201)
}
