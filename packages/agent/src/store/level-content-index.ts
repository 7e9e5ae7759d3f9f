import type { Digest } from '@layerswarm/core/digest.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { Level } from 'level'
import type { ContentIndex } from '../ports.ts'
import { onDisk } from './disk-errors.ts'

/** Between the parts of a key: sorts before all that scopes, tags and digests may hold. */
const SEPARATOR = '\0'
const AFTER_SEPARATOR = '\x01'

interface Tag {
  readonly descriptor: Descriptor
  readonly at: number
}

/** Links and tags in level. Links are kept both ways round, so that both questions are one range. */
export class LevelContentIndex implements ContentIndex {
  readonly #now: () => number
  readonly #level: Level<string, string>
  readonly #links
  readonly #scopes
  readonly #tags

  /** @param deps.now ms since the epoch */
  constructor(deps: { level: Level<string, string>; now?: () => number }) {
    this.#now = deps.now ?? Date.now
    this.#level = deps.level
    this.#links = deps.level.sublevel<string, Descriptor>('links', { valueEncoding: 'json' })
    this.#scopes = deps.level.sublevel<string, Descriptor>('scopes', { valueEncoding: 'json' })
    this.#tags = deps.level.sublevel<string, Tag>('tags', { valueEncoding: 'json' })
  }

  /** @throws {LayerswarmError} STORE_FULL, STORE_FAILED, as all methods here */
  async link(scope: string, descriptors: readonly Descriptor[]): Promise<void> {
    await onDisk(async () => {
      const keys = descriptors.map(({ digest }) => scope + SEPARATOR + digest)
      const known = await this.#links.getMany(keys)
      const fresh = descriptors.filter(({ size, mediaType }, at) => known[at]?.size !== size || known[at].mediaType !== mediaType)
      if (fresh.length === 0) return
      await this.#level.batch<string, Descriptor>(
        fresh.flatMap((value) => [
          { type: 'put' as const, sublevel: this.#links, key: scope + SEPARATOR + value.digest, value },
          { type: 'put' as const, sublevel: this.#scopes, key: value.digest + SEPARATOR + scope, value }
        ]),
        {}
      )
    })
  }

  async linked(scope: string, digest: Digest): Promise<Descriptor | undefined> {
    return await onDisk(() => this.#links.get(scope + SEPARATOR + digest))
  }

  async links(digest: Digest): Promise<readonly { scope: string; descriptor: Descriptor }[]> {
    return await onDisk(async () => {
      const range = { gt: digest + SEPARATOR, lt: digest + AFTER_SEPARATOR }
      const found = await this.#scopes.iterator(range).all()
      return found.map(([key, descriptor]) => ({ scope: key.slice(digest.length + 1), descriptor }))
    })
  }

  async setTag(scope: string, tag: string, descriptor: Descriptor): Promise<void> {
    await onDisk(() => this.#tags.put(scope + SEPARATOR + tag, { descriptor, at: this.#now() }))
  }

  async tag(scope: string, tag: string): Promise<Tag | undefined> {
    return await onDisk(() => this.#tags.get(scope + SEPARATOR + tag))
  }
}
