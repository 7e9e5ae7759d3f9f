import type { Digest } from '@layerswarm/core/digest.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { Level } from 'level'
import type { Abortable, ContentIndex } from '../ports.ts'
import { onDisk } from './disk-errors.ts'

/** Between the parts of a key: sorts before all that scopes, tags and digests may hold. */
const SEPARATOR = '\0'
const AFTER_SEPARATOR = '\x01'

const DAY_MS = 24 * 3600 * 1000
/** A fact that was confirmed longer ago is written again, so that serving a manifest does not write each time. */
const CONFIRMED_FOR_MS = DAY_MS
/** Facts of content that is neither here nor was asked for in this time go: images that nobody uses any more. */
const KEPT_FOR_MS = 30 * DAY_MS
/** Keys removed in one batch. */
const PRUNED_AT_ONCE = 1000

/** A descriptor, and when it was last confirmed, ms since the epoch. */
interface Fact {
  readonly descriptor: Descriptor
  readonly at: number
}

type Sublevel = ReturnType<typeof sublevelOf>

function sublevelOf(level: Level<string, string>, name: string) {
  return level.sublevel<string, Fact>(name, { valueEncoding: 'json' })
}

/** Links and tags in level. Links are kept both ways round, so that both questions are one range. */
export class LevelContentIndex implements ContentIndex {
  readonly #now: () => number
  readonly #level: Level<string, string>
  /** By scope, then digest. */
  readonly #links: Sublevel
  /** By digest, then scope. */
  readonly #scopes: Sublevel
  /** By scope, then tag. */
  readonly #tags: Sublevel

  /** @param deps.now ms since the epoch */
  constructor(deps: { level: Level<string, string>; now?: () => number }) {
    this.#now = deps.now ?? Date.now
    this.#level = deps.level
    this.#links = sublevelOf(deps.level, 'links')
    this.#scopes = sublevelOf(deps.level, 'scopes')
    this.#tags = sublevelOf(deps.level, 'tags')
  }

  /** @throws {LayerswarmError} STORE_FULL, STORE_FAILED, as all methods here */
  async link(scope: string, descriptors: readonly Descriptor[]): Promise<void> {
    await onDisk(async () => {
      const at = this.#now()
      const known = await this.#links.getMany(descriptors.map(({ digest }) => scope + SEPARATOR + digest))
      const fresh = descriptors.filter((descriptor, index) => !confirmed(known[index], descriptor, at))
      if (fresh.length === 0) return
      await this.#level.batch<string, Fact>(
        fresh.flatMap((descriptor) => [
          { type: 'put' as const, sublevel: this.#links, key: scope + SEPARATOR + descriptor.digest, value: { descriptor, at } },
          { type: 'put' as const, sublevel: this.#scopes, key: descriptor.digest + SEPARATOR + scope, value: { descriptor, at } }
        ]),
        {}
      )
    })
  }

  async linked(scope: string, digest: Digest): Promise<Descriptor | undefined> {
    return await onDisk(async () => (await this.#links.get(scope + SEPARATOR + digest))?.descriptor)
  }

  async links(digest: Digest): Promise<readonly { scope: string; descriptor: Descriptor }[]> {
    return await onDisk(async () => {
      const range = { gt: digest + SEPARATOR, lt: digest + AFTER_SEPARATOR }
      const found = await this.#scopes.iterator(range).all()
      return found.map(([key, { descriptor }]) => ({ scope: key.slice(digest.length + 1), descriptor }))
    })
  }

  async setTag(scope: string, tag: string, descriptor: Descriptor): Promise<void> {
    await onDisk(() => this.#tags.put(scope + SEPARATOR + tag, { descriptor, at: this.#now() }))
  }

  async tag(scope: string, tag: string): Promise<Fact | undefined> {
    return await onDisk(() => this.#tags.get(scope + SEPARATOR + tag))
  }

  async *tags(): AsyncGenerator<{ scope: string; tag: string; descriptor: Descriptor }> {
    for await (const [scope, tag, descriptor] of this.#all(this.#tags)) yield { scope, tag, descriptor }
  }

  async *allLinks(): AsyncGenerator<{ scope: string; descriptor: Descriptor }> {
    for await (const [scope, , descriptor] of this.#all(this.#links)) yield { scope, descriptor }
  }

  async *#all(facts: Sublevel): AsyncGenerator<readonly [scope: string, rest: string, descriptor: Descriptor]> {
    const entries = facts.iterator()
    try {
      for (let next = await onDisk(() => entries.next()); next !== undefined; next = await onDisk(() => entries.next())) {
        const [key, { descriptor }] = next
        const at = key.indexOf(SEPARATOR)
        yield [key.slice(0, at), key.slice(at + 1), descriptor]
      }
    } finally {
      await entries.close()
    }
  }

  /** Drops facts that were not confirmed for a month, of content that is not `held`, until the signal fires. */
  async prune(held: (digest: Digest) => boolean, { signal }: Abortable = {}): Promise<void> {
    await onDisk(async () => {
      const before = this.#now() - KEPT_FOR_MS
      for (const facts of [this.#links, this.#scopes, this.#tags]) {
        const old: string[] = []
        const drop = (): Promise<void> => facts.batch(old.splice(0).map((key) => ({ type: 'del', key })))
        for await (const [key, { descriptor, at }] of facts.iterator()) {
          if (signal?.aborted === true) return
          if (at < before && !held(descriptor.digest)) old.push(key)
          if (old.length === PRUNED_AT_ONCE) await drop()
        }
        await drop()
      }
    })
  }
}

function confirmed(known: Fact | undefined, { size, mediaType }: Descriptor, now: number): boolean {
  if (known === undefined || now - known.at > CONFIRMED_FOR_MS) return false
  return known.descriptor.size === size && known.descriptor.mediaType === mediaType
}
