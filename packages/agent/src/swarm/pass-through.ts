import { createHash } from 'node:crypto'
import { algorithmOf, hexOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable, ByteRange, ContentRef, OpenContent, RegistryClient, SourceCounts } from '../ports.ts'

/**
 * Content straight from the registry, for a store that cannot write. The whole is read and hashed whatever the range,
 * and the last chunk is held back until the digest is proven: nothing else could vouch for the bytes.
 */
export class PassThroughContent implements OpenContent {
  readonly size: number
  readonly #ref: ContentRef
  readonly #registry: Pick<RegistryClient, 'content'>
  #received = 0

  constructor(ref: ContentRef, size: number, registry: Pick<RegistryClient, 'content'>) {
    this.#ref = ref
    this.size = size
    this.#registry = registry
  }

  counts(): SourceCounts {
    return { local: 0, peer: 0, registry: this.#received }
  }

  async *read(range: ByteRange, options: Abortable = {}): AsyncIterable<Uint8Array> {
    const { body } = await this.#registry.content(this.#ref, undefined, options)
    const hash = createHash(algorithmOf(this.#ref.digest))
    let offset = 0
    let held: Uint8Array | undefined
    for await (const chunk of body) {
      if (offset + chunk.byteLength > this.size) throw new LayerswarmError('SIZE_MISMATCH', { detail: this.#ref.digest })
      hash.update(chunk)
      this.#received = Math.max(this.#received, offset + chunk.byteLength)
      const part = chunk.subarray(Math.max(0, range.start - offset), Math.max(0, range.end - offset))
      offset += chunk.byteLength
      if (part.byteLength === 0) continue
      if (held !== undefined) yield held
      held = part.slice()
    }
    if (offset !== this.size) throw new LayerswarmError('SIZE_MISMATCH', { detail: this.#ref.digest })
    if (hash.digest('hex') !== hexOf(this.#ref.digest)) throw new LayerswarmError('DIGEST_MISMATCH', { detail: this.#ref.digest })
    if (held !== undefined) yield held
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
