import { type Clock, systemClock } from '@layerswarm/core/clock.ts'
import { type Digest, digestOf, isDigest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, MAX_MANIFEST_BYTES, MEDIA_TYPES, parseManifest } from '@layerswarm/core/image/manifest.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { Throttle } from '@layerswarm/core/rate-limiter.ts'
import type { Abortable, ByteRange, ContentRef, RegistryClient, RegistryContent, RegistryReply, TagRef } from '../ports.ts'
import { lengthOf, mediaTypeOf, openBlob } from './blob-content.ts'
import { encodingOf, readAll } from './body.ts'
import { Certificates } from './certificates.ts'
import { anonymous, type CredentialSource } from './credentials.ts'
import { contentPath, type Endpoint, endpointOf, type RegistryOptions } from './endpoint.ts'
import { Proxies } from './proxies.ts'
import { type Ask, type RegistryMetrics, Requests } from './requests.ts'
import { discard, type HttpResponse, header, Transport, type TransportOptions } from './transport.ts'
import { RegistryUploader } from './upload.ts'

export interface RegistryClientDeps {
  readonly log: Pick<Logger, 'debug' | 'warn'>
  readonly credentials?: CredentialSource
  readonly metrics?: RegistryMetrics
  /** What may be received from registries. */
  readonly limit?: Throttle | undefined
  readonly clock?: Clock
  /** 0 up to 1. */
  readonly random?: () => number
}

export interface RegistryClientOptions extends TransportOptions {
  /** The registries that may be reached, by the name that images carry. */
  readonly registries: ReadonlyMap<string, RegistryOptions>
  /** Folders with registries' certificates, the first to ask first (see {@link Certificates}); none by default. */
  readonly certsDirs?: readonly string[]
  /** Where HTTPS_PROXY, HTTP_PROXY and NO_PROXY are read; nowhere by default. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** `layerswarm/<version>`: a mirror that is asked by one refuses, so that two never ask each other in a circle. */
  readonly userAgent: string
}

/** Every type there is: a registry that misses one in this list may convert, or pick a platform on its own. */
const MANIFEST_HEADERS = { accept: [...Object.values(MEDIA_TYPES), '*/*'].join(', ') }
/** The documents that are passed on, as paths below a repository. */
const DOCUMENTS = /^(?:tags\/list|referrers\/[a-z0-9]+:[0-9a-f]+)(?:\?[^#\s]*)?$/
/** Answers to a HEAD after which a GET is worth a try. */
const NO_HEAD = [405, 501]

/** The registries over HTTP, with undici. */
export class UndiciRegistryClient implements RegistryClient, AsyncDisposable {
  readonly #endpoints: ReadonlyMap<string, Endpoint>
  readonly #transport: Transport
  readonly #requests: Requests
  /** The writing half of the same registries. */
  readonly uploads: RegistryUploader

  /** @throws {LayerswarmError} CONFIG_INVALID for a proxy that is no address */
  constructor(deps: RegistryClientDeps, options: RegistryClientOptions) {
    this.#endpoints = new Map([...options.registries].map(([registry, how]) => [registry, endpointOf(registry, how)]))
    const { log, credentials = anonymous, metrics, limit, clock = systemClock, random = Math.random } = deps
    const certificates = new Certificates({ clock, log }, options.certsDirs ?? [])
    this.#transport = new Transport({ proxies: new Proxies(options.env ?? {}), certificates }, options)
    this.#requests = new Requests(
      { transport: this.#transport, log, credentials, clock, random, limit, ...(metrics === undefined ? {} : { metrics }) },
      { userAgent: options.userAgent }
    )
    this.uploads = new RegistryUploader({ requests: this.#requests, endpoint: (registry) => this.#endpoint(registry) })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]()
  }

  allows(registry: string): boolean {
    return this.#endpoints.has(registry)
  }

  /**
   * Content by digest, unverified. The body is to be read to its end, left with `return`, or ended by the signal:
   * until then it holds a connection.
   * @throws {LayerswarmError} NOT_FOUND, REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_FAILED, REGISTRY_BUSY,
   *   REGISTRY_NOT_ALLOWED, NAME_INVALID; SIZE_MISMATCH when the blob is smaller than the range says. The body throws
   *   REGISTRY_UNREACHABLE, REGISTRY_FAILED, and SIZE_MISMATCH for more bytes than announced.
   */
  async content(ref: ContentRef, range?: ByteRange, { signal }: Abortable = {}): Promise<RegistryContent> {
    const ask = { ...this.#subject(ref), path: contentPath(ref), ...(signal === undefined ? {} : { signal }) }
    if (ref.kind === 'blob') {
      const size = async () => (await this.resolve(ref, signal === undefined ? {} : { signal })).size
      return openBlob(this.#requests, { ...ask, size }, range)
    }
    const { bytes, mediaType } = await this.#manifest(ask)
    return {
      size: bytes.byteLength,
      mediaType,
      range: { start: 0, end: bytes.byteLength },
      body: (async function* () {
        yield bytes
      })()
    }
  }

  async resolve(ref: TagRef | ContentRef, { signal }: Abortable = {}): Promise<Descriptor> {
    const isBlob = 'kind' in ref && ref.kind === 'blob'
    const ask = { ...this.#subject(ref), path: contentPath(ref), ...(signal === undefined ? {} : { signal }) }
    const head: Ask = {
      ...ask,
      method: 'HEAD',
      headers: isBlob ? { accept: '*/*' } : MANIFEST_HEADERS,
      accepts: (status) => NO_HEAD.includes(status)
    }
    const told = await this.#requests.ask(head, async (answer) => {
      discard(answer)
      return answer.status < 400 ? described(answer, ref) : undefined
    })
    if (told !== undefined) return told
    if (isBlob) return this.#describeBlob(ask, ref)
    const { bytes, mediaType } = await this.#manifest(ask)
    const digest = 'tag' in ref ? digestOf(bytes) : ref.digest
    return { mediaType, digest, size: bytes.byteLength }
  }

  async document(registry: string, repository: string, path: string, { signal }: Abortable = {}): Promise<RegistryReply> {
    if (!DOCUMENTS.test(path)) throw new LayerswarmError('NOT_FOUND', { detail: path.slice(0, 200) })
    const ask: Ask = {
      ...this.#subject({ registry, repository }),
      method: 'GET',
      path,
      headers: { accept: `application/json, ${MEDIA_TYPES.ociIndex}` },
      ...(signal === undefined ? {} : { signal }),
      // What the caller asked wrongly is for the caller to see.
      accepts: (status) => status === 400
    }
    return this.#requests.ask(ask, async (answer) => ({
      status: answer.status,
      headers: passedOn(answer),
      body: await readAll(registry, this.#requests.content(registry, answer), MAX_MANIFEST_BYTES)
    }))
  }

  #subject({ registry, repository }: { readonly registry: string; readonly repository: string }) {
    return { endpoint: this.#endpoint(registry), repository }
  }

  #endpoint(registry: string): Endpoint {
    const endpoint = this.#endpoints.get(registry)
    if (endpoint === undefined) throw new LayerswarmError('REGISTRY_NOT_ALLOWED', { detail: registry.slice(0, 200) })
    return endpoint
  }

  async #manifest(ask: Omit<Ask, 'method' | 'headers'>): Promise<{ readonly bytes: Uint8Array; readonly mediaType: string }> {
    const { registry } = ask.endpoint
    return this.#requests.ask({ ...ask, method: 'GET', headers: MANIFEST_HEADERS }, async (answer) => {
      const bytes = await readAll(registry, this.#requests.content(registry, answer), MAX_MANIFEST_BYTES)
      return { bytes, mediaType: manifestType(answer) ?? parseManifest(bytes).mediaType }
    })
  }

  /** For a registry that does not answer HEAD: the head of a GET, whose body is not read. */
  async #describeBlob(ask: Omit<Ask, 'method' | 'headers'>, ref: ContentRef): Promise<Descriptor> {
    return this.#requests.ask({ ...ask, method: 'GET', headers: { accept: '*/*' } }, async (answer) => {
      discard(answer)
      const told = described(answer, ref)
      if (told === undefined) {
        throw new LayerswarmError('REGISTRY_FAILED', { detail: `${ask.endpoint.registry} does not tell the size of ${ref.digest}` })
      }
      return told
    })
  }
}

/** A manifest's type as the registry calls it; undefined for none and for the type that says nothing. */
function manifestType(answer: HttpResponse): string | undefined {
  const type = mediaTypeOf(answer)
  return type === 'application/octet-stream' ? undefined : type
}

/** What the headers tell of content; undefined when they leave something out. */
function described(answer: HttpResponse, ref: TagRef | ContentRef): Descriptor | undefined {
  const named = header(answer.headers, 'docker-content-digest')
  const digest: Digest | undefined = 'digest' in ref ? ref.digest : named !== undefined && isDigest(named) ? named : undefined
  const isBlob = 'kind' in ref && ref.kind === 'blob'
  const mediaType = isBlob ? (mediaTypeOf(answer) ?? 'application/octet-stream') : manifestType(answer)
  const size = encodingOf(answer) === undefined ? lengthOf(answer) : undefined
  return digest === undefined || mediaType === undefined || size === undefined ? undefined : { mediaType, digest, size }
}

/** Headers that mean something for a document whoever sends it. */
function passedOn(answer: HttpResponse): Record<string, string> {
  const names = ['content-type', 'link', 'oci-filters-applied']
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = header(answer.headers, name)
      return value === undefined ? [] : [[name, value]]
    })
  )
}
