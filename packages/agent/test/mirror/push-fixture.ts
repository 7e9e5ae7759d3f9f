import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { Agent, type ClientRequest, type IncomingHttpHeaders, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { systemClock } from '@layerswarm/core/clock.ts'
import { type Digest, digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { FakeRegistry, type FakeRegistryOptions } from '@layerswarm/testkit/fake-registry.ts'
import { FetchingContentService } from '@layerswarm/testkit/fetching-content-service.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { Images } from '../../src/images/image-service.ts'
import { Pushed } from '../../src/images/pushed.ts'
import { Mirror } from '../../src/mirror/mirror.ts'
import { UndiciRegistryClient } from '../../src/registry/registry-client.ts'
import { FsBlobStore } from '../../src/store/fs-blob-store.ts'

/** A layer, and an image of it. */
export const bytes = new SeededRandom('pushed').bytes(3 * 1024 * 1024 + 77)
export const digest = digestOf(bytes)
export const EMPTY = new Uint8Array()

export function manifestOf(layer = digest, size = bytes.byteLength, more: object = {}) {
  const config = { mediaType: 'application/vnd.example.config', digest: layer, size }
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [config], ...more }
  return Buffer.from(JSON.stringify(document))
}

export const asManifest = (body: Uint8Array) => ({ body, headers: { 'content-type': MEDIA_TYPES.ociManifest } })

interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** A mirror that takes pushes, with a real store, before a registry over HTTP. */
export class PushFixture implements AsyncDisposable {
  readonly origin: FakeRegistry
  readonly store: FsBlobStore
  readonly #dataDir: string
  readonly #host: string
  readonly #port: number
  readonly #stack: AsyncDisposableStack
  readonly #agent = new Agent({ keepAlive: true })

  private constructor(parts: {
    origin: FakeRegistry
    host: string
    store: FsBlobStore
    dataDir: string
    port: number
    stack: AsyncDisposableStack
  }) {
    this.#host = parts.host
    this.origin = parts.origin
    this.store = parts.store
    this.#dataDir = parts.dataDir
    this.#port = parts.port
    this.#stack = parts.stack
  }

  /** @param options.before another registry that it stands before, by its host */
  static async start(
    options: FakeRegistryOptions & { readonly maxBytes?: number; readonly takes?: boolean; readonly before?: string } = {}
  ): Promise<PushFixture> {
    await using stack = new AsyncDisposableStack()
    const dataDir = await mkdtemp(join(tmpdir(), 'layerswarm-push-'))
    stack.defer(() => rm(dataDir, { recursive: true }))
    const origin = stack.use(await FakeRegistry.start(options))
    const log = createLogger({ level: 'silent' })
    const host = options.before ?? origin.host
    const registries = new Map([[host, { insecure: true }]])
    const registry = stack.use(new UndiciRegistryClient({ log }, { registries, userAgent: 'layerswarm/test' }))
    const store = stack.use(await FsBlobStore.open({ dataDir, maxBytes: options.maxBytes ?? 1e9 }))
    const content = stack.use(new FetchingContentService({ store, registry }))
    const images = new Images({ registry, index: store.content, content, clock: systemClock, log }, { staleTags: 'host' })
    const pushed = new Pushed({ store, index: store.content, images, log })
    const push = options.takes === false ? undefined : { uploads: registry.uploads, intake: store, pushed }
    const mirror = stack.use(new Mirror({ images, registry, push, clock: systemClock, log }))
    const { port } = await mirror.listen({ host: '127.0.0.1', port: 0 })
    return new PushFixture({ origin, host, store, dataDir, port, stack: stack.move() })
  }

  /** The name of a repository as a client writes it that has the mirror for a registry. */
  path(repository: string): string {
    return `${this.#host.replace(':', '_')}/${repository}`
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** A request that is to be written and ended by the caller. */
  open(method: string, path: string, headers: Record<string, string | number> = {}): ClientRequest {
    return request({ host: '127.0.0.1', port: this.#port, method, path, headers, agent: this.#agent })
  }

  async ask(method: string, path: string, options: { headers?: Record<string, string | number>; body?: Uint8Array } = {}): Promise<Reply> {
    const { body, headers = {} } = options
    const sent = this.open(method, path, { ...(body === undefined ? {} : { 'content-length': body.byteLength }), ...headers })
    sent.end(body)
    return await replyTo(sent)
  }

  /** Opens an upload. @returns its address */
  async begin(repository = 'team/app'): Promise<string> {
    const { status, headers, body } = await this.ask('POST', `/v2/${this.path(repository)}/blobs/uploads/`, { body: new Uint8Array() })
    if (status !== 202 || headers.location === undefined) throw new Error(`${status} ${body}`)
    return headers.location
  }

  /** Pushes as docker does: one part without a length, then an empty end. */
  async pushChunked(bytes: Uint8Array, digest: Digest = digestOf(bytes)): Promise<Reply> {
    const location = await this.begin()
    const patch = this.open('PATCH', location)
    for (let at = 0; at < bytes.byteLength; at += 100_000) patch.write(bytes.subarray(at, at + 100_000))
    patch.end()
    const { status, headers } = await replyTo(patch)
    if (status !== 202 || headers.location === undefined) throw new Error(`the part was answered with ${status}`)
    return await this.ask('PUT', `${headers.location}?digest=${digest}`, { body: new Uint8Array() })
  }

  /** Whether the registry itself has a blob. */
  async hasAtOrigin(digest: Digest, repository = 'team/app'): Promise<boolean> {
    const { status } = await fetch(`${this.origin.url}/v2/${repository}/blobs/${digest}`, { method: 'HEAD' })
    return status === 200
  }

  /** Names of what is still on its way in the store. */
  async leftovers(): Promise<string[]> {
    return await readdir(join(this.#dataDir, 'ingest'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy()
    await this.#stack.disposeAsync()
  }
}

export async function replyTo(sent: ClientRequest): Promise<Reply> {
  const [response] = await once(sent, 'response')
  return { status: response.statusCode, headers: response.headers, body: await buffer(response) }
}

/** Code and message of an error of the distribution API. */
export function errorOf({ body }: Reply): { code: string; message: string } {
  return JSON.parse(String(body)).errors[0]
}
