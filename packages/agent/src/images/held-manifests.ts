import { type Digest, digestOf } from '@layerswarm/core/digest.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { isManifestType, MAX_MANIFEST_BYTES, parseManifest } from '@layerswarm/core/image/manifest.ts'
import type { Abortable, BlobStore, ImageManifest } from '../ports.ts'

/** Of manifests kept once read: images share indexes and manifests, and each is asked for several times. They have some KiB. */
const MAX_KEPT_BYTES = 32 * 1024 * 1024

export interface HeldManifestsOptions {
  /** Most bytes of manifests that are kept once read. */
  readonly maxKeptBytes?: number
}

/** Manifests as far as the store has them, verified, each read once. Makes no request. */
export class HeldManifests {
  readonly #store: Pick<BlobStore, 'open' | 'stat' | 'verify'>
  readonly #maxKeptBytes: number
  readonly #kept = new Map<Digest, ImageManifest>()
  #keptBytes = 0
  /** Those that turned out corrupt, by digest with their sizes; the store has them no longer. */
  readonly corrupt = new Map<Digest, number>()

  constructor(store: Pick<BlobStore, 'open' | 'stat' | 'verify'>, { maxKeptBytes = MAX_KEPT_BYTES }: HeldManifestsOptions = {}) {
    this.#store = store
    this.#maxKeptBytes = maxKeptBytes
  }

  /** @returns undefined for one that is not here, or is no manifest */
  async read(digest: Digest, mediaType: string, options: Abortable = {}): Promise<ImageManifest | undefined> {
    const kept = this.#kept.get(digest)
    if (kept !== undefined) return kept
    const bytes = await this.#bytes(digest, options)
    if (bytes === undefined) return undefined
    try {
      const manifest = parseManifest(bytes, isManifestType(mediaType) ? mediaType : undefined)
      const descriptor = { digest, size: bytes.byteLength, mediaType: manifest.mediaType }
      const read = { descriptor, bytes, manifest, counts: { local: bytes.byteLength, peer: 0, registry: 0 } }
      if (this.#keptBytes + bytes.byteLength <= this.#maxKeptBytes) {
        this.#kept.set(digest, read)
        this.#keptBytes += bytes.byteLength
      }
      return read
    } catch (error) {
      if (isLayerswarmError(error, 'MANIFEST_INVALID')) return undefined
      throw error
    }
  }

  async #bytes(digest: Digest, options: Abortable): Promise<Uint8Array | undefined> {
    const size = await this.#sizeOf(digest)
    if (size === undefined) return undefined
    const bytes = await this.#content(digest, options)
    if (bytes !== undefined && digestOf(bytes, digest) === digest) return bytes
    if ((await this.#store.verify(digest, options)) === false) this.corrupt.set(digest, size)
    return undefined
  }

  async #sizeOf(digest: Digest): Promise<number | undefined> {
    const stat = await this.#store.stat(digest)
    return stat?.state === 'complete' && stat.size <= MAX_MANIFEST_BYTES ? stat.size : undefined
  }

  async #content(digest: Digest, options: Abortable): Promise<Uint8Array | undefined> {
    await using reader = await this.#store.open(digest)
    if (reader?.complete !== true) return undefined
    const chunks: Uint8Array[] = []
    for await (const chunk of reader.read({ start: 0, end: reader.layout.size }, options)) chunks.push(chunk)
    return Buffer.concat(chunks)
  }
}
