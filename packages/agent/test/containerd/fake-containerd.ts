import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import grpc from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import type { ForeignState } from '@layerswarm/agent/ports.ts'
import { type Digest, hexOf } from '@layerswarm/core/digest.ts'
import type { FixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { API } from '../../src/containerd/api-definition.ts'

type Labels = Record<string, string>

interface Stored {
  readonly bytes: Buffer
  labels: Labels
}

/** What is in one namespace. */
export class FakeNamespace {
  readonly images = new Map<string, { readonly media_type: string; readonly digest: string; readonly size: number }>()
  readonly content = new Map<string, Stored>()
}

type Unary = grpc.ServerUnaryCall<Record<string, never>, unknown>
type Done = grpc.sendUnaryData<unknown>

/** A server of the part of containerd's API that is used, in memory but for the files of its blobs. */
export class FakeContainerd implements AsyncDisposable {
  readonly dir: string
  readonly socket: string
  readonly namespaces = new Map<string, FakeNamespace>()
  readonly leases = new Set<string>()
  /** Leases that anything was written under. */
  readonly heldBy = new Set<string>()
  /** Bytes that were written to it. */
  written = 0
  /** Writes fail with this. */
  broken: grpc.status | undefined
  /** Requests to write of this kind are not answered. */
  silent: WriteMessage['action'] | undefined
  /** Resolves at the first of these. */
  readonly silenced = Promise.withResolvers<void>()
  /** Names that something is being written under. */
  readonly #locked = new Set<string>()
  #subscribers = new Set<grpc.ServerWritableStream<unknown, unknown>>()
  #server: grpc.Server | undefined

  private constructor(dir: string) {
    this.dir = dir
    this.socket = join(dir, 'c.sock')
  }

  static async start(): Promise<FakeContainerd> {
    const fake = new FakeContainerd(await mkdtemp(join(tmpdir(), 'containerd-')))
    await mkdir(join(fake.root, 'blobs/sha256'), { recursive: true })
    await fake.listen()
    return fake
  }

  /** Where its content plugin keeps blobs. */
  get root(): string {
    return join(this.dir, 'content')
  }

  namespace(name: string): FakeNamespace {
    const found = this.namespaces.get(name) ?? new FakeNamespace()
    this.namespaces.set(name, found)
    return found
  }

  async add(namespace: string, blob: FixtureBlob, labels: Labels = {}): Promise<void> {
    this.namespace(namespace).content.set(blob.digest, { bytes: Buffer.from(blob.bytes), labels })
    await writeFile(join(this.root, 'blobs/sha256', hexOf(blob.digest)), blob.bytes)
  }

  tell(topic: string): void {
    for (const stream of this.#subscribers) stream.write({ namespace: 'default', topic })
  }

  async listen(): Promise<void> {
    const { services } = (grpc.loadPackageDefinition(fromJSON(API, { longs: Number, enums: String, defaults: true })) as unknown as Loaded)
      .containerd
    const server = new grpc.Server()
    const add = (service: string, name: string, calls: grpc.UntypedServiceImplementation): void => {
      const definition = services[service]?.v1[name]?.service
      if (definition === undefined) throw new Error(`no service ${name}`)
      server.addService(definition, calls)
    }
    add('namespaces', 'Namespaces', {
      List: (_: Unary, done: Done) => done(null, { namespaces: [...this.namespaces.keys()].map((name) => ({ name })) })
    })
    add('introspection', 'Introspection', {
      Plugins: (_: Unary, done: Done) => done(null, { plugins: [{ id: 'content', exports: { root: this.root } }] })
    })
    add('events', 'Events', {
      Subscribe: (stream: grpc.ServerWritableStream<unknown, unknown>) => {
        this.#subscribers.add(stream)
        stream.on('close', () => this.#subscribers.delete(stream))
      }
    })
    add('leases', 'Leases', {
      Create: ({ request }: { request: { id: string } }, done: Done) => {
        this.leases.add(request.id)
        done(null, { lease: { id: request.id } })
      },
      Delete: ({ request }: { request: { id: string } }, done: Done) => {
        this.leases.delete(request.id)
        done(null, {})
      }
    })
    this.#addContent(add)
    this.#addImages(add)
    await rm(this.socket, { force: true })
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${this.socket}`, grpc.ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error)
      )
    )
    this.#server = server
  }

  /** As when containerd is stopped. */
  async stop(): Promise<void> {
    this.#server?.forceShutdown()
    await rm(this.socket, { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await rm(this.dir, { recursive: true, force: true })
  }

  #addImages(add: (service: string, name: string, calls: grpc.UntypedServiceImplementation) => void): void {
    type Named = { metadata: grpc.Metadata; request: { image: { name: string; target: never } } }
    add('images', 'Images', {
      List: ({ metadata }: Named, done: Done) =>
        done(null, { images: [...this.#of(metadata).images].map(([name, target]) => ({ name, target })) }),
      Create: ({ metadata, request }: Named, done: Done) => {
        const { images } = this.#of(metadata)
        if (images.has(request.image.name)) return done({ code: grpc.status.ALREADY_EXISTS, details: 'exists' })
        images.set(request.image.name, request.image.target)
        done(null, {})
      },
      Update: ({ metadata, request }: Named, done: Done) => {
        this.#of(metadata).images.set(request.image.name, request.image.target)
        done(null, {})
      }
    })
  }

  #addContent(add: (service: string, name: string, calls: grpc.UntypedServiceImplementation) => void): void {
    add('content', 'Content', {
      List: (stream: grpc.ServerWritableStream<unknown, unknown> & { metadata: grpc.Metadata }) => {
        for (const [digest, { bytes, labels }] of this.#of(stream.metadata).content) {
          stream.write({ info: [{ digest, size: bytes.byteLength, labels }] })
        }
        stream.end()
      },
      Update: ({ metadata, request }: { metadata: grpc.Metadata; request: { info: { digest: string; labels: Labels } } }, done: Done) => {
        const stored = this.#of(metadata).content.get(request.info.digest)
        if (stored !== undefined) stored.labels = { ...stored.labels, ...request.info.labels }
        done(null, {})
      },
      Write: (stream: grpc.ServerDuplexStream<WriteMessage, unknown> & { metadata: grpc.Metadata }) => this.#write(stream)
    })
  }

  #write(stream: grpc.ServerDuplexStream<WriteMessage, unknown> & { metadata: grpc.Metadata }): void {
    const { content } = this.#of(stream.metadata)
    let expected = ''
    let bytes = Buffer.alloc(0)
    stream.on('data', (message: WriteMessage) => {
      expected = message.expected || expected
      const refuse = (code: grpc.status): void => void stream.emit('error', { code, details: 'refused' })
      if (this.broken !== undefined && message.action === 'WRITE') return refuse(this.broken)
      if (message.action === this.silent) return this.silenced.resolve()
      if (content.has(expected)) return refuse(grpc.status.ALREADY_EXISTS)
      if (message.action === 'STAT') {
        if (this.#locked.has(message.ref)) return refuse(grpc.status.UNAVAILABLE)
        this.#locked.add(message.ref)
        stream.once('close', () => this.#locked.delete(message.ref))
        return void stream.write({ action: 'STAT', offset: 0 })
      }
      this.written += message.data.byteLength
      bytes = Buffer.concat([bytes.subarray(0, message.offset), message.data])
      stream.write({ action: message.action, offset: bytes.byteLength })
      if (message.action !== 'COMMIT') return
      content.set(expected, { bytes, labels: message.labels })
      this.heldBy.add(String(stream.metadata.get('containerd-lease')[0]))
      stream.end()
    })
  }

  #of(metadata: grpc.Metadata): FakeNamespace {
    return this.namespace(String(metadata.get('containerd-namespace')[0]))
  }
}

interface WriteMessage {
  readonly action: 'STAT' | 'WRITE' | 'COMMIT'
  readonly ref: string
  readonly expected: string
  readonly offset: number
  readonly data: Buffer
  readonly labels: Labels
}

interface Loaded {
  readonly containerd: { readonly services: Record<string, { readonly v1: Record<string, { readonly service: grpc.ServiceDefinition }> }> }
}

/** A state for tests to compare. */
export function digestsOf({ files }: ForeignState): Digest[] {
  return [...files.keys()].sort()
}
