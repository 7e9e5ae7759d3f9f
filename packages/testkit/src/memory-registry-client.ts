import { EventEmitter } from 'node:events'
import type { Abortable, ByteRange, ContentRef, RegistryClient, RegistryContent, RegistryReply, TagRef } from '@layerswarm/agent/ports.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, OCTETS } from '@layerswarm/core/image/manifest.ts'

interface Kept {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
}

/** Registries in memory, seen through their client: what each repository has, and how it fails. */
export class MemoryRegistryClient implements RegistryClient {
  readonly #content = new Map<string, Kept>()
  readonly #tags = new Map<string, Descriptor>()
  readonly #allowed: ReadonlySet<string>
  /** What each call asked for: `resolve docker.io/library/app:1`. */
  readonly calls: string[] = []
  /** Emits `call` with each. */
  readonly events = new EventEmitter()
  /** When set, every call throws it. */
  error: Error | undefined
  /** Every call waits for ever, or for its signal. */
  hangs = false
  readonly documents = new Map<string, RegistryReply>()

  constructor(allowed: readonly string[]) {
    this.#allowed = new Set(allowed)
  }

  /** Keeps content of `scope` (`registry/repository`). @param tag also points to it */
  put(scope: string, kind: ContentRef['kind'], bytes: Uint8Array, options: { mediaType?: string; tag?: string } = {}): Descriptor {
    const descriptor = { digest: digestOf(bytes), size: bytes.byteLength, mediaType: options.mediaType ?? OCTETS }
    this.#content.set(`${kind} ${scope}@${descriptor.digest}`, { descriptor, bytes })
    if (options.tag !== undefined) this.#tags.set(`${scope}:${options.tag}`, descriptor)
    return descriptor
  }

  untag(scope: string, tag: string): void {
    this.#tags.delete(`${scope}:${tag}`)
  }

  allows(registry: string): boolean {
    return this.#allowed.has(registry)
  }

  async resolve(ref: TagRef | ContentRef, options: Abortable = {}): Promise<Descriptor> {
    const scope = `${ref.registry}/${ref.repository}`
    await this.#call(`resolve ${'tag' in ref ? `${scope}:${ref.tag}` : `${scope}@${ref.digest}`}`, options)
    const found = 'tag' in ref ? this.#tags.get(`${scope}:${ref.tag}`) : this.#content.get(`${ref.kind} ${scope}@${ref.digest}`)?.descriptor
    if (found === undefined) throw new LayerswarmError('NOT_FOUND')
    return found
  }

  async content(ref: ContentRef, range?: ByteRange, options: Abortable = {}): Promise<RegistryContent> {
    await this.#call(`content ${ref.registry}/${ref.repository}@${ref.digest}`, options)
    const found = this.#content.get(`${ref.kind} ${ref.registry}/${ref.repository}@${ref.digest}`)
    if (found === undefined) throw new LayerswarmError('NOT_FOUND')
    const { descriptor, bytes } = found
    const given = range ?? { start: 0, end: bytes.byteLength }
    const body = async function* () {
      yield bytes.subarray(given.start, given.end)
    }
    return { size: descriptor.size, mediaType: descriptor.mediaType, range: given, body: body() }
  }

  async document(registry: string, repository: string, path: string, options: Abortable = {}): Promise<RegistryReply> {
    await this.#call(`document ${registry}/${repository}/${path}`, options)
    return this.documents.get(`${registry}/${repository}/${path}`) ?? { status: 404, headers: {}, body: new Uint8Array(0) }
  }

  async #call(what: string, { signal }: Abortable): Promise<void> {
    signal?.throwIfAborted()
    this.calls.push(what)
    this.events.emit('call', what)
    if (this.hangs) {
      await new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }))
    }
    if (this.error !== undefined) throw this.error
  }
}
