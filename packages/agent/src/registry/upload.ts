import { Readable } from 'node:stream'
import { digestOf } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable, ContentRef, RegistryUploads, TagRef, Uploaded, UploadOptions } from '../ports.ts'
import { contentPath, type Endpoint, repositoryPath } from './endpoint.ts'
import { MAX_UPLOAD_BREAKS, UPLOAD_ANSWER_MS } from './limits.ts'
import { redirectTarget } from './redirect.ts'
import type { Ask, Requests } from './requests.ts'
import { discard, type HttpResponse, header } from './transport.ts'
import { outcomeOf, refusedBy, seen, type UploadOutcome } from './upload-outcome.ts'

/** Answers to the HEAD of a blob after which it is sent: some registries do not let those who push look. */
const NOT_TOLD = [403, 404, 405, 410, 501]
const OCTETS = { 'content-type': 'application/octet-stream' }

export interface RegistryUploaderDeps {
  readonly requests: Requests
  /** @throws {LayerswarmError} REGISTRY_NOT_ALLOWED */
  readonly endpoint: (registry: string) => Endpoint
}

/** A blob on its way out. */
interface Job extends Abortable {
  readonly ref: ContentRef
  readonly subject: Pick<Ask, 'endpoint' | 'repository' | 'actions'>
  readonly size: number
  readonly content: (from: number) => AsyncIterable<Uint8Array>
  readonly onSent: (bytes: number) => void
}

/** Gives registries blobs and manifests (OCI distribution specification, section Push). */
export class RegistryUploader implements RegistryUploads {
  readonly #deps: RegistryUploaderDeps

  constructor(deps: RegistryUploaderDeps) {
    this.#deps = deps
  }

  async blob(
    ref: ContentRef,
    size: number,
    content: (from: number) => AsyncIterable<Uint8Array>,
    { signal, mountFrom, onSent = () => undefined }: UploadOptions = {}
  ): Promise<Uploaded> {
    const job: Job = { ref, subject: this.#subject(ref), size, content, onSent, ...(signal === undefined ? {} : { signal }) }
    if (await this.#has(job)) return 'held'
    const opened = mountFrom === undefined || mountFrom === ref.repository ? await this.#begin(job) : await this.#mount(job, mountFrom)
    if (opened === undefined) return 'mounted'
    await this.#send(job, opened)
    return 'sent'
  }

  async manifest(
    ref: ContentRef | TagRef,
    { bytes, mediaType }: { readonly bytes: Uint8Array; readonly mediaType: string },
    { signal }: Abortable = {}
  ): Promise<void> {
    const { requests } = this.#deps
    const ask: Ask = {
      ...this.#subject(ref),
      method: 'PUT',
      path: contentPath(ref),
      headers: { 'content-type': mediaType, 'content-length': String(bytes.byteLength) },
      body: () => bytes,
      accepts: seen,
      headersTimeoutMs: UPLOAD_ANSWER_MS,
      ...(signal === undefined ? {} : { signal })
    }
    const outcome = await requests.ask(ask, async (answer) => outcomeOf(requests, ref.registry, answer))
    if (outcome.codes.some((code) => code === 'MANIFEST_BLOB_UNKNOWN' || code === 'BLOB_UNKNOWN')) {
      throw new LayerswarmError('BLOB_UNKNOWN', {
        detail: `${ref.registry} lacks what the manifest names: ${outcome.text}`,
        blame: 'registry'
      })
    }
    if (outcome.status >= 300) throw refusedBy(ref.registry, outcome)
    checkDigest(ref.registry, outcome, digestOf(bytes, 'digest' in ref ? ref.digest : undefined))
  }

  #subject({ registry, repository }: { readonly registry: string; readonly repository: string }): Job['subject'] {
    return { endpoint: this.#deps.endpoint(registry), repository, actions: 'pull,push' }
  }

  async #has(job: Job): Promise<boolean> {
    const ask: Ask = {
      ...askOf(job),
      method: 'HEAD',
      path: contentPath(job.ref),
      headers: { accept: '*/*' },
      accepts: (status) => NOT_TOLD.includes(status)
    }
    return this.#deps.requests.ask(ask, async (answer) => {
      discard(answer)
      return answer.status < 300
    })
  }

  /** Asks for the blob from another repository. @returns where to send it, undefined when the registry has it now */
  async #mount(job: Job, from: string): Promise<URL | undefined> {
    const query = `?mount=${job.ref.digest}&from=${repositoryPath(job.ref.registry, from)}`
    try {
      const { status, location } = await this.#post({ ...askOf(job), alsoReads: from }, query)
      if (status === 201) return undefined
      // What a registry opens instead is the upload itself.
      if (location !== undefined) return this.#location(job, location)
    } catch (error) {
      // To read the other repository is not granted to everybody who may write this one.
      if (!isLayerswarmError(error, 'REGISTRY_DENIED', 'NOT_FOUND')) throw error
    }
    return this.#begin(job)
  }

  async #begin(job: Job): Promise<URL> {
    const outcome = await this.#post(askOf(job), '')
    if (outcome.status < 300 && outcome.location !== undefined) return this.#location(job, outcome.location)
    throw refusedBy(job.ref.registry, outcome)
  }

  async #post(ask: ReturnType<typeof askOf> & Pick<Ask, 'alsoReads'>, query: string): Promise<UploadOutcome> {
    const { requests } = this.#deps
    const post: Ask = { ...ask, method: 'POST', path: `blobs/uploads/${query}`, headers: { 'content-length': '0' }, accepts: seen }
    return requests.ask(post, async (answer) => outcomeOf(requests, ask.endpoint.registry, answer))
  }

  /** An address that the registry gave: absolute or not, its query kept. */
  #location({ subject: { endpoint, repository } }: Job, location: string): URL {
    const from = new URL(`/v2/${repositoryPath(endpoint.registry, repository)}/blobs/uploads/`, endpoint.base)
    return redirectTarget(endpoint.registry, from, location, endpoint.insecure)
  }

  /** Sends a blob in one request; what breaks is taken up where the registry says, or begun anew where it kept nothing. */
  async #send(job: Job, opened: URL): Promise<void> {
    const { requests } = this.#deps
    let upload = opened
    let from = 0
    for (let breaks = 1; ; breaks++) {
      const broken = await this.#attempt(job, upload, from)
      if (broken === undefined) return
      if (breaks > MAX_UPLOAD_BREAKS) throw broken
      await requests.backOff(breaks, job.signal)
      const kept = await this.#kept(job, upload)
      // The answer alone may have been lost.
      if (kept === undefined && (await this.#has(job))) return
      from = kept?.bytes ?? 0
      upload = kept?.upload ?? (await this.#begin(job))
    }
  }

  /** Sends the bytes from `from` on and ends the upload. @returns why it broke */
  async #attempt(job: Job, opened: URL, from: number): Promise<LayerswarmError | undefined> {
    let upload = opened
    if (from > 0 && from < job.size) {
      // The end of an upload that was begun elsewhere is a chunk: few registries take it with the last request.
      const appended = await this.#transmit(job, 'PATCH', upload, from, { 'content-range': `${from}-${job.size - 1}` })
      if (appended instanceof LayerswarmError) return appended
      if (appended.location !== undefined) upload = this.#location(job, appended.location)
    }
    const url = new URL(upload)
    // Not searchParams, which would rewrite the registry's own part.
    url.search = `${url.search === '' ? '?' : `${url.search}&`}digest=${encodeURIComponent(job.ref.digest)}`
    const ended = await this.#transmit(job, 'PUT', url, from === 0 ? 0 : job.size, {})
    if (ended instanceof LayerswarmError) return ended
    checkDigest(job.ref.registry, ended, job.ref.digest)
    return undefined
  }

  /** @returns an error for a break, after which another attempt may do; a refusal is thrown */
  async #transmit(
    job: Job,
    method: 'PUT' | 'PATCH',
    url: URL,
    from: number,
    headers: Record<string, string>
  ): Promise<UploadOutcome | LayerswarmError> {
    const { requests } = this.#deps
    const { registry } = job.ref
    const length = job.size - from
    const source: { failure?: { readonly error: unknown } } = {}
    const ask: Ask = {
      ...askOf(job),
      method,
      path: url,
      headers: { ...OCTETS, ...headers, 'content-length': String(length) },
      ...(length === 0 ? {} : { body: () => Readable.from(this.#bytes(job, from, source), { highWaterMark: 1 }) }),
      accepts: seen,
      attempts: 1,
      headersTimeoutMs: UPLOAD_ANSWER_MS
    }
    let outcome: UploadOutcome
    try {
      outcome = await requests.ask(ask, async (answer) => outcomeOf(requests, registry, answer))
    } catch (error) {
      job.signal?.throwIfAborted()
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

  async *#bytes(
    { ref, content, onSent }: Job,
    from: number,
    source: { failure?: { readonly error: unknown } }
  ): AsyncGenerator<Uint8Array> {
    let at = from
    onSent(at)
    try {
      for await (const chunk of this.#deps.requests.sent(ref.registry, content(from))) {
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
  async #kept(job: Job, upload: URL): Promise<{ readonly bytes: number; readonly upload: URL } | undefined> {
    const ask: Ask = { ...askOf(job), method: 'GET', path: upload, headers: {}, accepts: (status) => status < 500 && status !== 429 }
    return this.#deps.requests.ask(ask, async (answer: HttpResponse) => {
      discard(answer)
      const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(header(answer.headers, 'range') ?? '')?.[1]
      // `0-0` is also what registries say of an upload that is empty.
      if (answer.status >= 300 || last === undefined || last === '0' || Number(last) >= job.size) return undefined
      const location = header(answer.headers, 'location')
      return { bytes: Number(last) + 1, upload: location === undefined ? upload : this.#location(job, location) }
    })
  }
}

function checkDigest(registry: string, { digest }: UploadOutcome, expected: string): void {
  if (digest === undefined || digest === expected) return
  throw new LayerswarmError('DIGEST_MISMATCH', { detail: `${registry} stored ${digest} in place of ${expected}` })
}

function askOf({ subject, signal }: Job): Pick<Ask, 'endpoint' | 'repository' | 'actions' | 'signal'> {
  return { ...subject, ...(signal === undefined ? {} : { signal }) }
}
