import { Readable } from 'node:stream'
import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable, ContentFrom, RegistryUpload, UploadOptions } from '../ports.ts'
import { type Endpoint, repositoryPath } from './endpoint.ts'
import { CANCEL_MS, MAX_UPLOAD_BREAKS, UPLOAD_ANSWER_MS } from './limits.ts'
import { redirectTarget } from './redirect.ts'
import type { Ask, Requests } from './requests.ts'
import { discard, type HttpResponse, header } from './transport.ts'
import { checkDigest, outcomeOf, refusedBy, seen, type UploadOutcome } from './upload-outcome.ts'

const OCTETS = { 'content-type': 'application/octet-stream' }

export interface BlobUploadDeps {
  readonly requests: Requests
  readonly subject: Pick<Ask, 'endpoint' | 'repository' | 'actions'>
  /** Opens an upload anew. */
  readonly begin: (options: Abortable) => Promise<URL>
  /** Whether the repository has a blob. */
  readonly has: (digest: Digest, options: Abortable) => Promise<boolean>
}

/** An address that the registry gave for an upload: absolute or not, its query kept. */
export function uploadAddress({ endpoint, repository }: { endpoint: Endpoint; repository: string }, location: string): URL {
  const from = new URL(`/v2/${repositoryPath(endpoint.registry, repository)}/blobs/uploads/`, endpoint.base)
  return redirectTarget(endpoint.registry, from, location, endpoint.insecure)
}

/** One part of a blob on its way. */
interface Part extends Abortable {
  readonly from: number
  /** Where it ends; unknown for one that ends when its content does. */
  readonly end: number | undefined
  readonly content: ContentFrom
  readonly onSent: (bytes: number) => void
}

/** One upload of a registry (OCI distribution specification, section Push), taken up again wherever it breaks. */
export class BlobUpload implements RegistryUpload {
  readonly #deps: BlobUploadDeps
  /** Where the registry wants what comes next. */
  #address: URL
  /** Bytes that the registry has; undefined after a break, until it is asked. */
  #at: number | undefined = 0

  constructor(deps: BlobUploadDeps, opened: URL) {
    this.#deps = deps
    this.#address = opened
  }

  /** As {@link RegistryUpload.append}. */
  async append(content: ContentFrom, { signal, size }: Abortable & { readonly size?: number | undefined } = {}): Promise<void> {
    const options = signal === undefined ? {} : { signal }
    await this.#untilDone(options, async () => {
      const from = this.#at ?? (await this.#takeUp(size, options))
      if (from === size) return undefined
      return await this.#patch({ from, end: size, content, onSent: () => undefined, ...options })
    })
  }

  /** As {@link RegistryUpload.finish}. */
  async finish(
    { digest, size }: { readonly digest: Digest; readonly size: number },
    content: ContentFrom,
    { signal, onSent = () => undefined }: Pick<UploadOptions, 'signal' | 'onSent'> = {}
  ): Promise<void> {
    const options = signal === undefined ? {} : { signal }
    await this.#untilDone(options, async () => {
      const from = this.#at ?? (await this.#takeUp(size, options, digest))
      return from === 'held' ? undefined : await this.#end(digest, size, { from, content, onSent, ...options })
    })
  }

  /** As {@link RegistryUpload.cancel}. */
  async cancel(): Promise<void> {
    const { requests, subject } = this.#deps
    const signal = AbortSignal.timeout(CANCEL_MS)
    // Some registries want the right to delete for it. Whoever has no such right must still get the token to push.
    const asked = { ...subject, actions: 'pull,push,delete' } as const
    const ask: Ask = { ...asked, method: 'DELETE', path: this.#address, headers: {}, accepts: () => true, attempts: 1, signal }
    await requests.ask(ask, async (answer) => discard(answer)).catch(() => undefined)
  }

  /** Tries until `attempt` gives no reason to try again. */
  async #untilDone(options: Abortable, attempt: () => Promise<LayerswarmError | undefined>): Promise<void> {
    const { requests } = this.#deps
    for (let breaks = 1; ; breaks++) {
      const broken = await attempt()
      if (broken === undefined) return
      if (breaks > MAX_UPLOAD_BREAKS) throw broken
      await requests.backOff(breaks, options.signal)
    }
  }

  /** Finds how far a broken upload got, or opens another. @returns `held`: the answer alone was lost, the blob is there */
  async #takeUp(size: number | undefined, options: Abortable): Promise<number>
  async #takeUp(size: number, options: Abortable, digest: Digest): Promise<number | 'held'>
  async #takeUp(size: number | undefined, options: Abortable, digest?: Digest): Promise<number | 'held'> {
    const { has, begin } = this.#deps
    const kept = await this.#kept(size, options)
    if (kept === undefined && digest !== undefined && (await has(digest, options))) return 'held'
    // What it has of the old one it does not give.
    if (kept === undefined) await this.cancel()
    this.#address = kept?.address ?? (await begin(options))
    this.#at = kept?.bytes ?? 0
    return this.#at
  }

  /** Sends the bytes from `from` on and ends the upload. @returns why it broke */
  async #end(digest: Digest, size: number, part: Omit<Part, 'end'>): Promise<LayerswarmError | undefined> {
    const { registry } = this.#deps.subject.endpoint
    if (part.from > 0 && part.from < size) {
      // The end of an upload that was begun elsewhere is a chunk: few registries take it with the last request.
      const broken = await this.#patch({ ...part, end: size })
      if (broken !== undefined) return broken
    }
    const url = new URL(this.#address)
    // Not searchParams, which would rewrite the registry's own part.
    url.search = `${url.search === '' ? '?' : `${url.search}&`}digest=${encodeURIComponent(digest)}`
    const ended = await this.#transmit('PUT', url, { ...part, from: part.from === 0 ? 0 : size, end: size })
    if (ended instanceof LayerswarmError) return ended
    checkDigest(registry, ended, digest)
    return undefined
  }

  async #patch(part: Part): Promise<LayerswarmError | undefined> {
    let sent = part.from
    const counted = (bytes: number): void => {
      sent = bytes
      part.onSent(bytes)
    }
    const outcome = await this.#transmit('PATCH', this.#address, { ...part, onSent: counted })
    if (outcome instanceof LayerswarmError) return outcome
    if (outcome.location !== undefined) this.#address = uploadAddress(this.#deps.subject, outcome.location)
    this.#at = sent
    return undefined
  }

  /** @returns an error for a break, after which another attempt may do; a refusal is thrown */
  async #transmit(method: 'PUT' | 'PATCH', url: URL, part: Part): Promise<UploadOutcome | LayerswarmError> {
    const { requests, subject } = this.#deps
    const { registry } = subject.endpoint
    const { from, end, signal } = part
    const source: { failure?: { readonly error: unknown } } = {}
    const ask: Ask = {
      ...subject,
      method,
      path: url,
      headers: { ...OCTETS, ...lengthHeaders(method, part) },
      ...(from === end ? {} : { body: () => Readable.from(this.#bytes(part, source), { highWaterMark: 1 }) }),
      accepts: seen,
      attempts: 1,
      headersTimeoutMs: UPLOAD_ANSWER_MS,
      ...(signal === undefined ? {} : { signal })
    }
    // Whatever comes of it, what the registry has by then is not known.
    this.#at = undefined
    let outcome: UploadOutcome
    try {
      outcome = await requests.ask(ask, async (answer) => outcomeOf(requests, registry, answer))
    } catch (error) {
      signal?.throwIfAborted()
      if (source.failure !== undefined) throw source.failure.error
      if (isLayerswarmError(error, 'REGISTRY_FAILED', 'REGISTRY_UNREACHABLE')) return error
      throw error
    }
    if (outcome.status < 300) return outcome
    const refused = refusedBy(registry, outcome)
    // The upload has expired, or is elsewhere than this end thinks.
    if (outcome.status === 404 || outcome.status === 416) return refused
    throw refused
  }

  async *#bytes({ from, content, onSent }: Part, source: { failure?: { readonly error: unknown } }): AsyncGenerator<Uint8Array> {
    let at = from
    onSent(at)
    try {
      for await (const chunk of this.#deps.requests.sent(this.#deps.subject.endpoint.registry, content(from))) {
        yield chunk
        at += chunk.byteLength
        onSent(at)
      }
    } catch (error) {
      source.failure = { error }
      throw error
    }
  }

  /** What the registry kept of a broken upload; undefined for nothing. */
  async #kept(size: number | undefined, { signal }: Abortable): Promise<{ readonly bytes: number; readonly address: URL } | undefined> {
    const { requests, subject } = this.#deps
    const ask: Ask = {
      ...subject,
      method: 'GET',
      path: this.#address,
      headers: {},
      accepts: (status) => status < 500 && status !== 429,
      ...(signal === undefined ? {} : { signal })
    }
    return requests.ask(ask, async (answer: HttpResponse) => {
      discard(answer)
      const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(header(answer.headers, 'range') ?? '')?.[1]
      // `0-0` is also what registries say of an upload that is empty.
      if (answer.status >= 300 || last === undefined || last === '0' || (size !== undefined && Number(last) >= size)) return undefined
      const location = header(answer.headers, 'location')
      return { bytes: Number(last) + 1, address: location === undefined ? this.#address : uploadAddress(subject, location) }
    })
  }
}

/** A first part whose end is open goes as docker sends it, chunked and without a range: every registry takes that. */
function lengthHeaders(method: 'PUT' | 'PATCH', { from, end }: Part): Record<string, string> {
  if (end === undefined) return {}
  const length = { 'content-length': String(end - from) }
  return method === 'PATCH' && from > 0 ? { ...length, 'content-range': `${from}-${end - 1}` } : length
}
