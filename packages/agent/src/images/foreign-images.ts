import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { childrenOf, type Descriptor } from '@layerswarm/core/image/manifest.ts'
import { type ImageReference, scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { Abortable, BlobStore, ContentIndex, ForeignImage } from '../ports.ts'
import { HeldManifests } from './held-manifests.ts'

export interface ForeignImagesDeps {
  readonly store: Pick<BlobStore, 'open' | 'stat' | 'verify' | 'changes'>
  readonly index: ContentIndex
  readonly log: Logger
}

/**
 * The images that another program on this host knows by name. What their manifests name is recorded as belonging to
 * their repositories, as it is for a pull, once those manifests are proven.
 */
export class ForeignImages {
  readonly #deps: ForeignImagesDeps
  #images: ReadonlyMap<string, ForeignImage> = new Map()
  /** Manifests that are not here yet, with the images that wait for them. */
  readonly #awaited = new Map<Digest, Set<ForeignImage>>()

  constructor(deps: ForeignImagesDeps) {
    this.#deps = deps
  }

  /** These are the images now, and no others. */
  async update(images: readonly ForeignImage[]): Promise<void> {
    const before = this.#images
    this.#images = new Map(images.map((image) => [keyOf(image), before.get(keyOf(image)) ?? image]))
    for (const [digest, waiting] of this.#awaited) {
      for (const image of waiting) if (this.#images.get(keyOf(image)) !== image) waiting.delete(image)
      if (waiting.size === 0) this.#awaited.delete(digest)
    }
    for (const [key, image] of this.#images) if (!before.has(key)) await this.#record(image)
  }

  /** Records images as their manifests are proven, until the signal fires. @throws its reason */
  async follow(options: Abortable): Promise<void> {
    for await (const { change, digest } of this.#deps.store.changes(options)) {
      if (change !== 'added') continue
      for (const image of [...(this.#awaited.get(digest) ?? [])]) await this.#record(image)
    }
  }

  /** The index with the names of these images too, where it does not know them itself. */
  named(): ContentIndex {
    const { index } = this.#deps
    return {
      link: (scope, descriptors) => index.link(scope, descriptors),
      linked: (scope, digest) => index.linked(scope, digest),
      links: (digest) => index.links(digest),
      setTag: (scope, tag, descriptor) => index.setTag(scope, tag, descriptor),
      tag: async (scope, tag) => (await index.tag(scope, tag)) ?? this.#tagged(scope, tag),
      tags: () => this.#tags(),
      allLinks: () => index.allLinks()
    }
  }

  /** What that program knows by a name, whatever this host's own index says. */
  root({ registry, repository, tag, digest }: ImageReference): Descriptor | undefined {
    const scope = scopeOf({ registry, repository })
    const fits = (image: ForeignImage): boolean => (digest === undefined ? image.tag === tag : image.root.digest === digest)
    return [...this.#images.values()].find((image) => image.scope === scope && fits(image))?.root
  }

  #tagged(scope: string, tag: string): { descriptor: Descriptor; at: number } | undefined {
    const image = [...this.#images.values()].find((candidate) => candidate.scope === scope && candidate.tag === tag)
    return image && { descriptor: image.root, at: Date.now() }
  }

  async *#tags(): AsyncGenerator<{ scope: string; tag: string; descriptor: Descriptor }> {
    const told = new Set<string>()
    for await (const known of this.#deps.index.tags()) {
      told.add(`${known.scope}:${known.tag}`)
      yield known
    }
    for (const { scope, tag, root } of this.#images.values()) {
      if (tag === undefined || told.has(`${scope}:${tag}`)) continue
      told.add(`${scope}:${tag}`)
      yield { scope, tag, descriptor: root }
    }
  }

  async #record(image: ForeignImage): Promise<void> {
    const { store, index, log } = this.#deps
    const manifests = new HeldManifests(store)
    const seen = new Set<Digest>()
    const look = async (named: Descriptor): Promise<void> => {
      if (seen.has(named.digest)) return
      seen.add(named.digest)
      // Before it is looked for, for it may be proven meanwhile.
      const waiting = this.#awaited.get(named.digest) ?? new Set()
      this.#awaited.set(named.digest, waiting.add(image))
      const held = await manifests.read(named.digest, named.mediaType)
      if (held === undefined) return
      waiting.delete(image)
      if (waiting.size === 0 && this.#awaited.get(named.digest) === waiting) this.#awaited.delete(named.digest)
      await index.link(image.scope, [held.descriptor, ...childrenOf(held.manifest)])
      for (const child of held.manifest.manifests) await look(child)
    }
    await look(image.root).catch((error: unknown) =>
      log.debug({ scope: image.scope, error: describeError(error) }, 'an image of another program cannot be recorded')
    )
  }
}

function keyOf({ scope, tag = '', root }: ForeignImage): string {
  return `${scope}:${tag}@${root.digest}`
}
