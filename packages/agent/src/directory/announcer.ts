import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { type Descriptor, isManifestType } from '@layerswarm/core/image/manifest.ts'
import type { Holding } from '@layerswarm/core/wire/directory-protocol.ts'
import type { Logger } from 'pino'
import type { BlobStore, ContentIndex, PeerDirectory } from '../ports.ts'

/** Scopes told of one manifest: the same image under more names is rare, and each costs the tracker memory. */
const MAX_SCOPES = 64

/**
 * Tells the directory what the store holds: everything when asked for a snapshot, and then each change.
 * A manifest goes with its type and the repositories it was reached through, so that other hosts learn that it belongs there.
 */
export class Announcer implements AsyncDisposable {
  readonly #deps: { readonly store: Pick<BlobStore, 'list' | 'changes' | 'stat'>; readonly index: ContentIndex; readonly log: Logger }
  readonly #stop = new AbortController()
  #directory: Pick<PeerDirectory, 'announce'> | undefined
  #following: Promise<void> = Promise.resolve()

  constructor(deps: { readonly store: Pick<BlobStore, 'list' | 'changes' | 'stat'>; readonly index: ContentIndex; readonly log: Logger }) {
    this.#deps = deps
  }

  /** Starts to tell `directory` of changes. */
  start(directory: Pick<PeerDirectory, 'announce'>): void {
    this.#directory = directory
    const changes = this.#deps.store.changes({ signal: this.#stop.signal })
    this.#following = this.#follow(changes)
  }

  /** All complete blobs held now. */
  async *snapshot(): AsyncGenerator<Holding> {
    for await (const { digest, size, state } of this.#deps.store.list()) {
      if (state === 'complete') yield await this.#holding(digest, size)
    }
  }

  /**
   * The index to hand to whoever links content: a manifest that becomes known under another repository is told again.
   * What is linked after its blob was committed would stay unknown otherwise.
   */
  watched(): ContentIndex {
    const { index } = this.#deps
    return {
      link: async (scope, descriptors) => {
        await index.link(scope, descriptors)
        await this.#retell(descriptors)
      },
      linked: (scope, digest) => index.linked(scope, digest),
      links: (digest) => index.links(digest),
      setTag: (scope, tag, descriptor) => index.setTag(scope, tag, descriptor),
      tag: (scope, tag) => index.tag(scope, tag),
      tags: () => index.tags(),
      allLinks: () => index.allLinks()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#following
  }

  async #follow(changes: ReturnType<BlobStore['changes']>): Promise<void> {
    try {
      for await (const { change, digest, size } of changes) {
        if (change === 'removed') this.#directory?.announce({ add: [], drop: [digest] })
        else if (change === 'added') this.#directory?.announce({ add: [await this.#holding(digest, size)], drop: [] })
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#deps.log.error({ error: describeError(error) }, 'changes of the store are told no longer')
    }
  }

  async #retell(descriptors: readonly Descriptor[]): Promise<void> {
    for (const { digest, mediaType } of descriptors) {
      if (!isManifestType(mediaType)) continue
      const stat = await this.#deps.store.stat(digest).catch(() => undefined)
      if (stat?.state === 'complete') this.#directory?.announce({ add: [await this.#holding(digest, stat.size)], drop: [] })
    }
  }

  async #holding(digest: Digest, size: number): Promise<Holding> {
    // Without its links a blob is still worth telling: what is held is a fact of the store.
    const links = await this.#deps.index.links(digest).catch(() => [])
    const manifests = links.filter(({ descriptor }) => isManifestType(descriptor.mediaType))
    const [first] = manifests
    if (first === undefined) return { digest, size }
    return { digest, size, mediaType: first.descriptor.mediaType, scopes: manifests.slice(0, MAX_SCOPES).map(({ scope }) => scope) }
  }
}
