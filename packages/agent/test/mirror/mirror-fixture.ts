import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientRequest, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { Writable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { type Clock, systemClock } from '@layerswarm/core/clock.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { type Descriptor, MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { createAgentMetrics, createMetricsRegistry } from '@layerswarm/core/metrics.ts'
import { MemoryContentIndex } from '@layerswarm/testkit/memory-content-index.ts'
import { MemoryContentService } from '@layerswarm/testkit/memory-content-service.ts'
import { MemoryRegistryClient } from '@layerswarm/testkit/memory-registry-client.ts'
import { Images } from '../../src/images/image-service.ts'
import { Mirror, type MirrorOptions } from '../../src/mirror/mirror.ts'

export const SCOPE = 'docker.io/library/app'

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface FixtureOptions extends MirrorOptions {
  readonly clock?: Clock
  readonly staleTags?: 'off' | 'host'
  readonly port?: number
}

/** A mirror on a real socket, on images in memory. */
export class Fixture implements AsyncDisposable {
  readonly content = new MemoryContentService()
  readonly index = new MemoryContentIndex()
  readonly registry = new MemoryRegistryClient(['docker.io', 'registry.example.com:5000', '127.0.0.1:5000'])
  readonly lines: Record<string, unknown>[] = []
  readonly metrics = createMetricsRegistry({ process: false })
  readonly mirror: Mirror
  port = 0

  private constructor(options: FixtureOptions) {
    const clock = options.clock ?? systemClock
    const destination = new Writable({
      write: (line, _encoding, done) => {
        this.lines.push(JSON.parse(String(line)))
        done()
      }
    })
    const log = createLogger({ level: 'debug', destination })
    const images = new Images(
      { registry: this.registry, index: this.index, content: this.content, clock, log },
      { staleTags: options.staleTags ?? 'host' }
    )
    this.mirror = new Mirror({ images, registry: this.registry, clock, log, metrics: createAgentMetrics(this.metrics) }, options)
  }

  static async start(options: FixtureOptions = {}): Promise<Fixture> {
    const fixture = new Fixture(options)
    fixture.port = (await fixture.mirror.listen({ host: '127.0.0.1', port: options.port ?? 0 })).port
    return fixture
  }

  /** Puts an image of one layer where the registry and the content service have it. @returns its parts */
  image(
    layer: Uint8Array,
    options: { scope?: string; tag?: string; omitType?: boolean } = {}
  ): Record<'manifest' | 'config' | 'layer', Descriptor> {
    const { scope = SCOPE, tag = 'latest', omitType = false } = options
    const config = this.put(scope, 'blob', Buffer.from('{"os":"linux","architecture":"amd64"}'), 'application/vnd.oci.image.config.v1+json')
    const blob = this.put(scope, 'blob', layer, 'application/vnd.oci.image.layer.v1.tar+gzip')
    const document = { schemaVersion: 2, ...(omitType ? {} : { mediaType: MEDIA_TYPES.ociManifest }), config, layers: [blob] }
    return {
      manifest: this.put(scope, 'manifest', Buffer.from(JSON.stringify(document)), MEDIA_TYPES.ociManifest, tag),
      config,
      layer: blob
    }
  }

  put(scope: string, kind: 'blob' | 'manifest', bytes: Uint8Array, mediaType: string, tag?: string): Descriptor {
    this.content.blobs.set(digestOf(bytes), bytes)
    return this.registry.put(scope, kind, bytes, { mediaType, ...(tag === undefined ? {} : { tag }) })
  }

  /** A request on a connection of its own, its body read to the end. Rejects when the connection is cut. */
  async ask(path: string, headers: Record<string, string> = {}, method = 'GET', body?: string): Promise<Reply> {
    const request = httpRequest({ host: '127.0.0.1', port: this.port, path, method, headers, agent: false })
    request.end(body)
    const [response] = await once(request, 'response')
    return { status: response.statusCode, headers: response.headers, body: await buffer(response) }
  }

  /** A response whose body is read by the test. */
  async begin(path: string): Promise<{ request: ClientRequest; response: IncomingMessage }> {
    const request = httpRequest({ host: '127.0.0.1', port: this.port, path, agent: false })
    request.on('error', () => undefined)
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    return { request, response }
  }

  async assertAlive(): Promise<void> {
    assert.equal((await this.ask('/v2/')).status, 200)
  }

  /** Bytes over the wire as they are. @returns all that comes back until the mirror closes the connection */
  async raw(bytes: string): Promise<string> {
    const socket = connect(this.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(bytes)
    return await text(socket)
  }

  /** Lines of the log that speak of a request's outcome. */
  outcomes(): string[] {
    return this.lines.map(({ msg }) => String(msg)).filter((msg) => /^(blob|manifest|tags|referrers|version|other) /.test(msg))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mirror.close()
  }
}

/** The one error that an answer tells. */
export function errorOf(body: Buffer): { code: string; message: string; detail: unknown } {
  const { errors } = JSON.parse(body.toString())
  assert.equal(errors.length, 1)
  assert.deepEqual(Object.keys(errors[0]), ['code', 'message', 'detail'])
  return errors[0]
}
