import type { Digest } from '@layerswarm/core/digest.ts'
import type { PlanRequest } from '../ports.ts'

/** Blobs remembered: more than are ever fetched at once. */
const MAX_BLOBS = 4096

interface Wanted {
  readonly request: Omit<PlanRequest, 'blobs'>
  readonly size: number | undefined
}

/** How the blobs that are being fetched were asked for, so that they can be asked for again at another tracker. */
export class WantedBlobs {
  readonly #blobs = new Map<Digest, Wanted>()

  note({ blobs, ...request }: PlanRequest): void {
    for (const { digest, size } of blobs) {
      this.#blobs.delete(digest)
      this.#blobs.set(digest, { request, size })
    }
    for (const digest of this.#blobs.keys()) {
      if (this.#blobs.size <= MAX_BLOBS) break
      this.#blobs.delete(digest)
    }
  }

  forget(digest: Digest): void {
    this.#blobs.delete(digest)
  }

  /** One request per repository for those of `fetching` that are known here. */
  requests(fetching: readonly Digest[]): PlanRequest[] {
    const requests = new Map<string, PlanRequest & { blobs: { digest: Digest; size?: number }[] }>()
    for (const digest of fetching) {
      const wanted = this.#blobs.get(digest)
      if (wanted === undefined) continue
      const { request, size } = wanted
      const key = JSON.stringify([request.scope, request.origin])
      const merged = requests.get(key) ?? { ...request, blobs: [] }
      requests.set(key, merged)
      merged.blobs.push(size === undefined ? { digest } : { digest, size })
    }
    return [...requests.values()]
  }
}
