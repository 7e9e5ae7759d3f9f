import { describeError } from '@layerswarm/core/errors.ts'
import { childrenOf, type Descriptor, type Manifest, OCTETS } from '@layerswarm/core/image/manifest.ts'
import { scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { BlobStore, ContentIndex, ContentRef, ImageService, IncomingBlob, PushedContent, TagRef } from '../ports.ts'
import { storeBlob } from './store-blob.ts'

export interface PushedDeps {
  readonly store: Pick<BlobStore, 'stat' | 'begin' | 'open'>
  readonly index: Pick<ContentIndex, 'link' | 'setTag'>
  readonly images: Pick<ImageService, 'moved'>
  readonly log: Logger
}

/** Records what a registry was given through this host. */
export class Pushed implements PushedContent {
  readonly #deps: PushedDeps

  constructor(deps: PushedDeps) {
    this.#deps = deps
  }

  async blob(ref: ContentRef, incoming: IncomingBlob): Promise<void> {
    const { store, index } = this.#deps
    const { digest } = ref
    const { size } = incoming
    await this.#recorded(scopeOf(ref), async () => {
      if ((await store.stat(digest))?.state !== 'complete') await incoming.keep(digest)
      await index.link(scopeOf(ref), [{ digest, size, mediaType: OCTETS }])
    })
  }

  async manifest(
    ref: ContentRef | TagRef,
    { bytes, descriptor, manifest }: { readonly bytes: Uint8Array; readonly descriptor: Descriptor; readonly manifest: Manifest }
  ): Promise<void> {
    const { store, index, images } = this.#deps
    const scope = scopeOf(ref)
    if ('tag' in ref) images.moved(ref)
    await this.#recorded(scope, async () => {
      await storeBlob(store, descriptor, once(bytes))
      await index.link(scope, [descriptor, ...childrenOf(manifest)])
      if ('tag' in ref) await index.setTag(scope, ref.tag, descriptor)
    })
  }

  /** The registry has it, and that is what counts. */
  async #recorded(scope: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#deps.log.warn({ scope, error: describeError(error) }, 'what was pushed could not be kept here')
    }
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
