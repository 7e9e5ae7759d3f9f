import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { TLSSocket } from 'node:tls'
import { type Digest, digestOf } from '@layerswarm/core/digest.ts'
import { Access, type AccessRule } from './fake-registry/access.ts'
import { type BlobStorage, directoryStorage, memoryStorage } from './fake-registry/blob-storage.ts'
import { type ActiveFault, FaultBook, type FaultRule, type RequestKind } from './fake-registry/faults.ts'
import { Listener, type ListenerTls } from './fake-registry/listener.ts'
import { type StoredContent, sendStored, servePull } from './fake-registry/pull.ts'
import { Push, storeManifest } from './fake-registry/push.ts'
import { type Exchange, send, sendError } from './fake-registry/reply.ts'
import { Repositories } from './fake-registry/repositories.ts'
import { RequestLog } from './fake-registry/request-log.ts'
import { routeOf } from './fake-registry/route.ts'

export interface FakeRegistryOptions {
  /** Address to listen at (default 127.0.0.1). */
  readonly hostname?: string
  /** Default: any free one. It is kept over {@link FakeRegistry.stop} and `start`. */
  readonly port?: number
  /** Where blobs are kept; in memory by default. */
  readonly dir?: string
  readonly access?: AccessRule
  /** HTTPS, at every address. */
  readonly tls?: ListenerTls
}

/**
 * An OCI distribution registry over real HTTP, for pull and push, that can be told to fail in every way clients must
 * survive, and that counts what it sends. Without faults it is a complete small registry.
 */
export class FakeRegistry implements AsyncDisposable {
  readonly log = new RequestLog()
  readonly #faults = new FaultBook()
  readonly #storage: BlobStorage
  readonly #repositories = new Repositories()
  readonly #push: Push
  readonly #access: Access | undefined
  readonly #main: Listener
  /** Another origin: the token server, and where blobs are redirected to. */
  readonly #other: Listener
  readonly #targets = new Map<string, { readonly content: StoredContent; left: number }>()

  private constructor(options: FakeRegistryOptions) {
    const { hostname = '127.0.0.1', port = 0, dir, access, tls } = options
    this.#storage = dir === undefined ? memoryStorage() : directoryStorage(dir)
    this.#push = new Push(this.#storage, this.#repositories)
    this.#access = access === undefined ? undefined : new Access(access, () => this.#realm)
    this.#main = new Listener((request, response) => this.#answer(request, response), hostname, port, tls)
    this.#other = new Listener((request, response) => this.#answerElsewhere(request, response), hostname, 0, tls)
  }

  static async start(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
    const registry = new FakeRegistry(options)
    await registry.start()
    return registry
  }

  /** `host:port`, as image references name it. */
  get host(): string {
    return this.#main.host
  }

  get url(): string {
    return this.#main.url
  }

  /** `host:port` of the token server and of redirected blobs. */
  get otherHost(): string {
    return this.#other.host
  }

  /** Where the token server answers. */
  get #realm(): string {
    const rule = this.#access?.rule
    const path = rule?.type === 'bearer' ? rule.realmPath : undefined
    return path === undefined ? `${this.#other.url}/token` : `${this.url}${path}`
  }

  async start(): Promise<void> {
    await Promise.all([this.#main.start(), this.#other.start()])
  }

  /** Closes every connection and refuses new ones. The content stays, `start` serves it again at the same address. */
  async stop(): Promise<void> {
    await Promise.all([this.#main.stop(), this.#other.stop()])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.#push.close()
  }

  /** Makes requests fail until the rule has run out or is disposed. */
  fault(rule: FaultRule): ActiveFault {
    return this.#faults.add(rule)
  }

  clearFaults(): void {
    this.#faults.clear()
  }

  /** Tokens given out so far are refused from now on. */
  revokeTokens(): void {
    this.#access?.revoke()
  }

  /** Puts content in without a request. */
  async putBlob(repository: string, bytes: Uint8Array): Promise<Digest> {
    const digest = digestOf(bytes)
    const upload = await this.#storage.begin()
    await upload.append(
      (async function* () {
        yield bytes
      })()
    )
    await upload.commit(digest)
    this.#repositories.ensure(repository).blobs.add(digest)
    return digest
  }

  /** Puts a manifest in without a request; what it names may be missing. */
  putManifest(repository: string, tag: string | undefined, bytes: Uint8Array, mediaType: string): Digest {
    const digest = digestOf(bytes)
    storeManifest(this.#repositories, repository, { digest, tag }, bytes, mediaType)
    return digest
  }

  /** Uploads that were begun and neither finished nor cancelled. */
  get openUploads(): number {
    return this.#push.open
  }

  /** What a tag points to. */
  tag(repository: string, tag: string): Digest | undefined {
    return this.#repositories.get(repository)?.tags.get(tag)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams, origin } = new URL(request.url ?? '', this.url)
    if (`${origin}${pathname}` === this.#realm) return this.#issueToken(request, response, searchParams)
    const route = routeOf(pathname)
    const exchange = this.#begin(request, response, route.kind, route.repository, route.reference)
    if (await this.#failed(exchange)) return
    response.setHeader('docker-distribution-api-version', 'registry/2.0')
    const reading = request.method === 'GET' || request.method === 'HEAD'
    const scope = route.repository === undefined ? undefined : `repository:${route.repository}:${actionsOf(request.method)}`
    const challenge = this.#access?.check(request.headers.authorization, scope)
    if (challenge !== undefined) return sendError(exchange, 401, 'UNAUTHORIZED', challenge === '' ? {} : { 'www-authenticate': challenge })
    if (!reading || route.kind === 'upload') return this.#push.serve(exchange, request, route, searchParams)
    const parts = {
      storage: this.#storage,
      repositories: this.#repositories,
      redirectTarget: (content: StoredContent, uses: number) => {
        const id = String(this.#targets.size)
        this.#targets.set(id, { content, left: uses })
        return `${this.#other.url}/stored/${content.digest}?signature=${id}`
      }
    }
    return servePull(parts, exchange, route, searchParams, request.headers.range)
  }

  async #answerElsewhere(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '', this.#other.url)
    if (pathname === '/token') return this.#issueToken(request, response, searchParams)
    const exchange = this.#begin(request, response, 'stored', undefined, pathname.split('/').at(-1))
    if (await this.#failed(exchange)) return
    const target = this.#targets.get(searchParams.get('signature') ?? '')
    if (request.headers.authorization !== undefined) return sendError(exchange, 400, 'DENIED')
    if (target === undefined || target.left-- <= 0) return sendError(exchange, 403, 'DENIED')
    return sendStored(exchange, target.content, request.headers.range)
  }

  async #issueToken(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): Promise<void> {
    const exchange = this.#begin(request, response, 'token', undefined, undefined)
    if ((await this.#failed(exchange)) || this.#access === undefined) return
    const form = new URLSearchParams(await text(request))
    const { status, body } = this.#access.issue({
      method: request.method ?? '',
      query,
      form,
      authorization: request.headers.authorization
    })
    return send(exchange, status, { 'content-type': 'application/json' }, Buffer.from(body))
  }

  #begin(
    request: IncomingMessage,
    response: ServerResponse,
    kind: RequestKind,
    repository: string | undefined,
    reference: string | undefined
  ): Exchange {
    const method = request.method ?? ''
    const query = request.url?.split('?')[1] ?? ''
    const gone = new AbortController()
    response.once('close', () => {
      gone.abort()
      this.log.end()
    })
    return {
      response,
      method,
      fault: this.#faults.take({ kind, method, reference }),
      log: this.log,
      record: this.log.begin({
        kind,
        method,
        repository,
        reference,
        query,
        headers: request.headers,
        clientName: clientName(request),
        connection: request.socket.remotePort
      }),
      closed: gone.signal
    }
  }

  /** Applies the faults that replace a reply. @returns whether one did. */
  async #failed(exchange: Exchange): Promise<boolean> {
    const { fault, response, closed } = exchange
    if (fault.hold !== undefined) {
      await Promise.race([fault.hold, new Promise((done) => closed.addEventListener('abort', done, { once: true }))])
    }
    if (fault.reset === true) {
      response.socket?.resetAndDestroy()
      return true
    }
    if (fault.garbage === true) {
      response.socket?.end('SSH-2.0-nothing\r\n\r\n')
      return true
    }
    if (fault.status === undefined) return false
    await sendError(exchange, fault.status, 'UNAVAILABLE')
    return true
  }
}

/** What docker-registry asks for, which takes the end of an upload for the removal of content. */
function actionsOf(method: string | undefined): string {
  if (method === 'DELETE') return 'delete'
  return method === 'GET' || method === 'HEAD' ? 'pull' : 'pull,push'
}

/** Common name in the certificate that a client showed. */
function clientName({ socket }: IncomingMessage): string | undefined {
  return socket instanceof TLSSocket ? socket.getPeerCertificate().subject?.CN?.toString() : undefined
}
