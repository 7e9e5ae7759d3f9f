import type { Clock } from '@layerswarm/core/clock.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { childrenOf, type Descriptor, isManifestType, MAX_MANIFEST_BYTES, parseManifest } from '@layerswarm/core/image/manifest.ts'
import { scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { Abortable, ContentIndex, ContentService, FoundContent, ImageManifest } from '../ports.ts'
import { Answers } from './answers.ts'

export interface ManifestReaderDeps {
  readonly content: Pick<ContentService, 'open'>
  readonly index: Pick<ContentIndex, 'link'>
  readonly clock: Clock
  readonly log: Logger
}

/** Reads manifests whole, verified, and records what they name. */
export class ManifestReader {
  readonly #deps: ManifestReaderDeps
  readonly #reads: Answers<ImageManifest>

  constructor(deps: ManifestReaderDeps) {
    this.#deps = deps
    this.#reads = new Answers(deps, { ttl: () => 0, max: 0 })
  }

  /** See {@link ImageService.manifest}. */
  async read(found: FoundContent, options: Abortable = {}): Promise<ImageManifest> {
    return await this.#reads.get(`${scopeOf(found.ref)}@${found.ref.digest}`, (signal) => this.#read(found, signal), options)
  }

  async #read(found: FoundContent, signal: AbortSignal): Promise<ImageManifest> {
    const { ref, descriptor: named } = found
    const { content, index, log } = this.#deps
    if (named.size > MAX_MANIFEST_BYTES) throw new LayerswarmError('MANIFEST_INVALID', { detail: `${named.size} bytes` })
    await using open = await content.open(ref, { size: named.size, mediaType: named.mediaType }, { signal })
    const bytes = await readWhole(open, { signal })
    if (digestOf(bytes, ref.digest) !== ref.digest) throw new LayerswarmError('DIGEST_MISMATCH', { detail: ref.digest })
    // A type that is no manifest's says nothing: the document then tells what it is.
    const manifest = parseManifest(bytes, isManifestType(named.mediaType) ? named.mediaType : undefined)
    const descriptor: Descriptor = { digest: ref.digest, size: bytes.byteLength, mediaType: manifest.mediaType }
    await index
      .link(scopeOf(ref), [descriptor, ...childrenOf(manifest)])
      .catch((err: unknown) => log.warn({ err, scope: scopeOf(ref) }, 'could not record what a manifest names'))
    return { descriptor, bytes, manifest, counts: open.counts() }
  }
}

/**
 * Small content in one piece.
 * @throws {LayerswarmError} MANIFEST_INVALID beyond what a manifest may have
 */
export async function readWhole(open: Awaited<ReturnType<ContentService['open']>>, options: Abortable): Promise<Uint8Array> {
  if (open.size > MAX_MANIFEST_BYTES) throw new LayerswarmError('MANIFEST_INVALID', { detail: `${open.size} bytes` })
  const chunks: Uint8Array[] = []
  if (open.size > 0) for await (const chunk of open.read({ start: 0, end: open.size }, options)) chunks.push(chunk)
  return Buffer.concat(chunks)
}
