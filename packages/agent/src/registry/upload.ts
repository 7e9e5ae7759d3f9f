import { type Digest, digestOf } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable, ContentFrom, ContentRef, RegistryUploads, TagRef, Uploaded, UploadOptions } from '../ports.ts'
import { BlobUpload, uploadAddress } from './blob-upload.ts'
import { contentPath, type Endpoint, repositoryPath } from './endpoint.ts'
import { UPLOAD_ANSWER_MS } from './limits.ts'
import type { Ask, Requests } from './requests.ts'
import { discard } from './transport.ts'
import { checkDigest, outcomeOf, refusedBy, seen, type UploadOutcome } from './upload-outcome.ts'

/** Answers to the HEAD of a blob after which it is sent: some registries do not let those who push look. */
const NOT_TOLD = [403, 404, 405, 410, 501]

type Subject = Pick<Ask, 'endpoint' | 'repository' | 'actions'>

export interface RegistryUploaderDeps {
  readonly requests: Requests
  /** @throws {LayerswarmError} REGISTRY_NOT_ALLOWED */
  readonly endpoint: (registry: string) => Endpoint
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
    content: ContentFrom,
    { signal, mountFrom, prepare, onSent }: UploadOptions = {}
  ): Promise<Uploaded> {
    const { digest, repository } = ref
    const options = signal === undefined ? {} : { signal }
    if (await this.#has(this.#subject(ref), digest, options)) return 'held'
    const mount = mountFrom === undefined || mountFrom === repository ? undefined : { digest, from: mountFrom }
    const upload = await this.open(ref, { ...options, mount })
    if (upload === undefined) return 'mounted'
    try {
      await prepare?.()
      await upload.finish({ digest, size }, content, { ...options, ...(onSent === undefined ? {} : { onSent }) })
    } catch (error) {
      // Nobody else knows where it is.
      await upload.cancel()
      throw error
    }
    return 'sent'
  }

  async open(
    ref: { readonly registry: string; readonly repository: string },
    { signal, mount }: Parameters<RegistryUploads['open']>[1] = {}
  ): Promise<BlobUpload | undefined> {
    const options = signal === undefined ? {} : { signal }
    const subject = this.#subject(ref)
    const opened = mount === undefined ? await this.#begin(subject, options) : await this.#mount(subject, mount, options)
    if (opened === undefined) return undefined
    const deps = {
      requests: this.#deps.requests,
      subject,
      begin: (again: Abortable) => this.#begin(subject, again),
      has: (digest: Digest, again: Abortable) => this.#has(subject, digest, again)
    }
    return new BlobUpload(deps, opened)
  }

  async manifest(
    ref: ContentRef | TagRef,
    { bytes, mediaType }: { readonly bytes: Uint8Array; readonly mediaType: string },
    { signal }: Abortable = {}
  ): Promise<{ readonly subject?: string }> {
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
    return outcome.subject === undefined ? {} : { subject: outcome.subject }
  }

  #subject({ registry, repository }: { readonly registry: string; readonly repository: string }): Subject {
    return { endpoint: this.#deps.endpoint(registry), repository, actions: 'pull,push' }
  }

  async #has(subject: Subject, digest: Digest, options: Abortable): Promise<boolean> {
    const ask: Ask = {
      ...subject,
      ...options,
      method: 'HEAD',
      path: `blobs/${digest}`,
      headers: { accept: '*/*' },
      accepts: (status) => NOT_TOLD.includes(status)
    }
    return this.#deps.requests.ask(ask, async (answer) => {
      discard(answer)
      return answer.status < 300
    })
  }

  /** Asks for a blob from another repository. @returns where to send it, undefined when the registry has it now */
  async #mount(subject: Subject, { digest, from }: { digest: Digest; from: string }, options: Abortable): Promise<URL | undefined> {
    const query = `?mount=${digest}&from=${repositoryPath(subject.endpoint.registry, from)}`
    try {
      const { status, location } = await this.#post({ ...subject, ...options, alsoReads: from }, query)
      if (status === 201) return undefined
      // What a registry opens instead is the upload itself.
      if (location !== undefined) return uploadAddress(subject, location)
    } catch (error) {
      // To read the other repository is not granted to everybody who may write this one.
      if (!isLayerswarmError(error, 'REGISTRY_DENIED', 'NOT_FOUND')) throw error
    }
    return this.#begin(subject, options)
  }

  async #begin(subject: Subject, options: Abortable): Promise<URL> {
    const outcome = await this.#post({ ...subject, ...options }, '')
    if (outcome.status < 300 && outcome.location !== undefined) return uploadAddress(subject, outcome.location)
    throw refusedBy(subject.endpoint.registry, outcome)
  }

  async #post(ask: Subject & Abortable & Pick<Ask, 'alsoReads'>, query: string): Promise<UploadOutcome> {
    const { requests } = this.#deps
    const post: Ask = { ...ask, method: 'POST', path: `blobs/uploads/${query}`, headers: { 'content-length': '0' }, accepts: seen }
    return requests.ask(post, async (answer) => outcomeOf(requests, ask.endpoint.registry, answer))
  }
}
