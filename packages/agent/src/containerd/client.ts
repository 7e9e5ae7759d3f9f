import grpc from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable } from '../ports.ts'
import { API } from './api-definition.ts'

/** Every answer is read from containerd's database; one that takes longer will not come. */
const CALL_MS = 30_000
/** It goes by itself one day: nobody waits for a containerd that hangs. */
const PARTING_MS = 3_000
/** A page of content with its labels, or all images of a namespace, is far smaller. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024

/** Characters of a reason that containerd gives. */
const MAX_REASON = 300

const CHANNEL: grpc.ChannelOptions = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  // A socket's path is no host name to HTTP/2.
  'grpc.default_authority': 'localhost'
}

export interface ContentInfo {
  readonly digest: string
  readonly size: number
  readonly labels: Readonly<Record<string, string>>
}

export interface ImageRecord {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly target: {
    readonly media_type: string
    readonly digest: string
    readonly size: number
  } | null
}

/** What happened, without its details. */
export interface EventEnvelope {
  readonly namespace: string
  readonly topic: string
}

export type WriteRequest = Readonly<{
  action: 'STAT' | 'WRITE' | 'COMMIT'
  ref?: string
  total?: number
  expected?: string
  offset?: number
  data?: Uint8Array
  labels?: Readonly<Record<string, string>>
}>

export interface WriteReply {
  readonly action: 'STAT' | 'WRITE' | 'COMMIT'
  readonly offset: number
}

type Service = 'content' | 'images' | 'namespaces' | 'events' | 'introspection' | 'leases'

/** Where a call belongs: a namespace, and the lease that what it makes is held by. */
export interface CallScope {
  readonly namespace?: string
  readonly lease?: string
}

interface CallOptions extends Abortable {
  /** Milliseconds that an answer may take. */
  readonly deadline?: number
}

/** containerd's API over its socket. Connects when it is first asked, and again when the connection broke. */
export class ContainerdClient implements Disposable {
  readonly #clients: Readonly<Record<Service, grpc.Client>>

  constructor(socket: string) {
    const { services } = (grpc.loadPackageDefinition(fromJSON(API, { longs: Number, enums: String, defaults: true })) as unknown as Loaded)
      .containerd
    const make = (service: Service, name: string): grpc.Client => {
      const Client = services[service].v1[name]
      if (Client === undefined) throw new Error(`there is no service ${name}`)
      return new Client(`unix:${socket}`, grpc.credentials.createInsecure(), CHANNEL)
    }
    this.#clients = {
      content: make('content', 'Content'),
      images: make('images', 'Images'),
      namespaces: make('namespaces', 'Namespaces'),
      events: make('events', 'Events'),
      introspection: make('introspection', 'Introspection'),
      leases: make('leases', 'Leases')
    }
  }

  /** @throws {LayerswarmError} CONTAINERD_FAILED, as all methods here; the signal's reason */
  async namespaces(options: CallOptions = {}): Promise<string[]> {
    const { namespaces } = await this.#call<{ namespaces: { name: string }[] }>('namespaces', 'List', {}, {}, options)
    return namespaces.map(({ name }) => name)
  }

  /** The folder that the content plugin keeps its blobs in, on containerd's file system. */
  async contentRoot(options: Abortable = {}): Promise<string | undefined> {
    const filters = ['type==io.containerd.content.v1']
    const { plugins } = await this.#call<{ plugins: { exports: Record<string, string> }[] }>(
      'introspection',
      'Plugins',
      { filters },
      {},
      options
    )
    return plugins.find(({ exports }) => exports.root !== undefined)?.exports.root
  }

  async *content(namespace: string, options: Abortable = {}): AsyncGenerator<ContentInfo> {
    for await (const page of this.#stream('content', 'List', {}, { namespace }, { ...options, deadline: CALL_MS })) {
      yield* (page as { info: ContentInfo[] }).info
    }
  }

  async images(namespace: string, options: Abortable = {}): Promise<readonly ImageRecord[]> {
    return (await this.#call<{ images: ImageRecord[] }>('images', 'List', {}, { namespace }, options)).images
  }

  /** Whatever happens from now on in all namespaces under one of `topics`, until the connection ends. */
  events(topics: readonly string[], options: Abortable = {}): AsyncIterable<EventEnvelope> {
    const filters = topics.map((topic) => `topic~="^${topic}"`)
    return this.#stream('events', 'Subscribe', { filters }, {}, options) as AsyncIterable<EventEnvelope>
  }

  async createImage(image: ImageRecord, scope: CallScope, options: Abortable = {}): Promise<void> {
    await this.#call('images', 'Create', { image }, scope, options)
  }

  /** Points the name of an image that is there at another target. Its labels are added to those it has. */
  async updateImage(image: ImageRecord, scope: CallScope, options: Abortable = {}): Promise<void> {
    const paths = ['target', ...Object.keys(image.labels).map((label) => `labels.${label}`)]
    await this.#call('images', 'Update', { image, update_mask: { paths } }, scope, options)
  }

  /** Adds labels to content that is there. */
  async labelContent(digest: string, labels: Readonly<Record<string, string>>, scope: CallScope, options: Abortable = {}): Promise<void> {
    const paths = Object.keys(labels).map((label) => `labels.${label}`)
    await this.#call('content', 'Update', { info: { digest, labels }, update_mask: { paths } }, scope, options)
  }

  async createLease(id: string, labels: Readonly<Record<string, string>>, scope: CallScope, options: Abortable = {}): Promise<void> {
    await this.#call('leases', 'Create', { id, labels }, scope, options)
  }

  async deleteLease(id: string, scope: CallScope): Promise<void> {
    await this.#call('leases', 'Delete', { id, sync: false }, scope, { deadline: PARTING_MS })
  }

  /** A stream of writes to one blob, each answered by one reply. */
  write(scope: CallScope): grpc.ClientDuplexStream<WriteRequest, WriteReply> {
    type Duplex = (metadata: grpc.Metadata) => grpc.ClientDuplexStream<WriteRequest, WriteReply>
    return method<Duplex>(this.#clients.content, 'Write')(metadataOf(scope))
  }

  [Symbol.dispose](): void {
    for (const client of Object.values(this.#clients)) client.close()
  }

  async #call<T>(
    service: Service,
    name: string,
    request: object,
    scope: CallScope,
    { signal, deadline = CALL_MS }: CallOptions
  ): Promise<T> {
    signal?.throwIfAborted()
    type Unary = (
      request: object,
      metadata: grpc.Metadata,
      options: grpc.CallOptions,
      done: (error: grpc.ServiceError | null, reply: T) => void
    ) => grpc.ClientUnaryCall
    const invoke = method<Unary>(this.#clients[service], name)
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const call = invoke(request, metadataOf(scope), { deadline: Date.now() + deadline }, (error, reply) =>
      error === null ? resolve(reply) : reject(signal?.aborted === true ? signal.reason : failure(error))
    )
    const cancel = (): void => call.cancel()
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      return await promise
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }

  async *#stream(
    service: Service,
    name: string,
    request: object,
    scope: CallScope,
    { signal, deadline }: CallOptions
  ): AsyncGenerator<unknown> {
    signal?.throwIfAborted()
    type Streaming = (request: object, metadata: grpc.Metadata, options: grpc.CallOptions) => grpc.ClientReadableStream<unknown>
    const invoke = method<Streaming>(this.#clients[service], name)
    const stream = invoke(request, metadataOf(scope), deadline === undefined ? {} : { deadline: Date.now() + deadline })
    const cancel = (): void => stream.cancel()
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      for await (const message of stream) yield message
    } catch (error) {
      signal?.throwIfAborted()
      throw failure(error)
    } finally {
      signal?.removeEventListener('abort', cancel)
      stream.cancel()
    }
  }
}

/** Whether containerd refused since what was to be made is there. */
export function isAlreadyThere(error: unknown): boolean {
  return grpcCodeOf(error) === grpc.status.ALREADY_EXISTS
}

/** CONTAINERD_FAILED for whatever gRPC throws, without the words that it puts around the reason. */
export function failure(error: unknown): LayerswarmError {
  const text = error instanceof Error && 'details' in error && typeof error.details === 'string' ? error.details : describeError(error)
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const reason =
    code === grpc.status.DEADLINE_EXCEEDED
      ? 'it gives no answer'
      : (/Last error: (?:Error: )?(.+?)\. Resolution note/s.exec(text)?.[1] ?? text)
  return new LayerswarmError('CONTAINERD_FAILED', { cause: Object.assign(new Error(reason.slice(0, MAX_REASON)), { code }) })
}

function grpcCodeOf(error: unknown): unknown {
  const cause = error instanceof LayerswarmError ? error.cause : error
  return cause instanceof Error && 'code' in cause ? cause.code : undefined
}

function metadataOf({ namespace, lease }: CallScope): grpc.Metadata {
  const metadata = new grpc.Metadata()
  if (namespace !== undefined) metadata.set('containerd-namespace', namespace)
  if (lease !== undefined) metadata.set('containerd-lease', lease)
  return metadata
}

function method<F extends (...args: never[]) => unknown>(client: grpc.Client, name: string): F {
  return (client as unknown as Record<string, F>)[name]?.bind(client) as F
}

interface Loaded {
  readonly containerd: { readonly services: Readonly<Record<Service, { readonly v1: Readonly<Record<string, typeof grpc.Client>> }>> }
}
