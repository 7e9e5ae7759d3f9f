import type { ContentIndex } from '@layerswarm/agent/ports.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'

/** Facts about content, in memory. */
export class MemoryContentIndex implements ContentIndex {
  readonly #links = new Map<string, Map<Digest, Descriptor>>()
  readonly #tags = new Map<string, { descriptor: Descriptor; at: number }>()
  /** When set, everything throws it. */
  broken: Error | undefined

  async link(scope: string, descriptors: readonly Descriptor[]): Promise<void> {
    this.#check()
    const links = this.#links.get(scope) ?? new Map<Digest, Descriptor>()
    this.#links.set(scope, links)
    for (const descriptor of descriptors) links.set(descriptor.digest, descriptor)
  }

  async linked(scope: string, digest: Digest): Promise<Descriptor | undefined> {
    this.#check()
    return this.#links.get(scope)?.get(digest)
  }

  async links(digest: Digest): Promise<readonly { scope: string; descriptor: Descriptor }[]> {
    this.#check()
    return [...this.#links].flatMap(([scope, links]) => {
      const descriptor = links.get(digest)
      return descriptor === undefined ? [] : [{ scope, descriptor }]
    })
  }

  async setTag(scope: string, tag: string, descriptor: Descriptor): Promise<void> {
    this.#check()
    this.#tags.set(`${scope}:${tag}`, { descriptor, at: Date.now() })
  }

  async tag(scope: string, tag: string): Promise<{ descriptor: Descriptor; at: number } | undefined> {
    this.#check()
    return this.#tags.get(`${scope}:${tag}`)
  }

  async *tags(): AsyncGenerator<{ scope: string; tag: string; descriptor: Descriptor }> {
    this.#check()
    for (const [name, { descriptor }] of [...this.#tags].sort(byKey)) {
      const at = name.lastIndexOf(':')
      yield { scope: name.slice(0, at), tag: name.slice(at + 1), descriptor }
    }
  }

  async *allLinks(): AsyncGenerator<{ scope: string; descriptor: Descriptor }> {
    this.#check()
    for (const [scope, links] of [...this.#links].sort(byKey)) {
      for (const descriptor of links.values()) yield { scope, descriptor }
    }
  }

  #check(): void {
    if (this.broken !== undefined) throw this.broken
  }
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}
