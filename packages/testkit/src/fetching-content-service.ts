import type {
  Abortable,
  BlobReader,
  BlobStore,
  ContentRef,
  ContentService,
  OpenContent,
  PartialBlob,
  RegistryClient
} from '@layerswarm/agent/ports.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { layoutOf, pieceLength } from '@layerswarm/core/piece-layout.ts'

export interface FetchingContentDeps {
  readonly store: Pick<BlobStore, 'open' | 'begin'>
  readonly registry: Pick<RegistryClient, 'content' | 'resolve'>
}

/** The smallest content service on real parts: what the store lacks comes whole from the registry, once at a time. */
export class FetchingContentService implements ContentService, AsyncDisposable {
  readonly #deps: FetchingContentDeps
  readonly #running = new Map<Digest, Promise<void>>()
  readonly #stop = new AbortController()

  constructor(deps: FetchingContentDeps) {
    this.#deps = deps
  }

  async open(ref: ContentRef, hint: { readonly size?: number }, options: Abortable = {}): Promise<OpenContent> {
    const held = await this.#deps.store.open(ref.digest)
    if (held !== undefined) return contentOf(held, held.complete ? 'local' : 'registry')
    const size = hint.size ?? (await this.#deps.registry.resolve(ref, options)).size
    const partial = await this.#deps.store.begin(ref.digest, layoutOf(size))
    this.#running.set(ref.digest, this.#fetch(ref, partial))
    const reader = await this.#deps.store.open(ref.digest)
    if (reader === undefined) throw new Error(`${ref.digest} is being fetched and cannot be read`)
    return contentOf(reader, 'registry')
  }

  expect(): void {}

  async lookup(): Promise<undefined> {
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('closed'))
    await Promise.allSettled(this.#running.values())
  }

  async #fetch(ref: ContentRef, partial: PartialBlob): Promise<void> {
    try {
      await copy(this.#deps.registry, ref, partial, this.#stop.signal)
      await partial.commit()
    } catch (error) {
      partial.fail(error)
    } finally {
      await partial[Symbol.asyncDispose]()
      this.#running.delete(ref.digest)
    }
  }
}

async function copy(registry: Pick<RegistryClient, 'content'>, ref: ContentRef, partial: PartialBlob, signal: AbortSignal): Promise<void> {
  const { body } = await registry.content(ref, undefined, { signal })
  let piece = 0
  let waiting: Uint8Array = new Uint8Array(0)
  for await (const chunk of body) {
    waiting = Buffer.concat([waiting, chunk])
    while (piece < partial.layout.pieces && waiting.byteLength >= pieceLength(partial.layout, piece)) {
      const length = pieceLength(partial.layout, piece)
      await partial.write(piece++, waiting.subarray(0, length))
      waiting = waiting.subarray(length)
    }
  }
}

function contentOf(reader: BlobReader, source: 'local' | 'registry'): OpenContent {
  const { size } = reader.layout
  return {
    size,
    counts: () => ({ local: 0, peer: 0, registry: 0, [source]: source === 'local' ? size : reader.have().count * reader.layout.pieceSize }),
    read: (range, options) => reader.read(range, options),
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose]()
  }
}
