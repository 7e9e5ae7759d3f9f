import type { Digest } from '@layerswarm/core/digest.ts'

/** Blobs whose counts are kept; the one served longest ago is forgotten first. */
const MAX_BLOBS = 256

/** How often each piece was served from here: pieces that are fresh in the swarm are served first. */
export class ServedCounts {
  readonly #blobs = new Map<Digest, Map<number, number>>()

  of(blob: Digest, piece: number): number {
    return this.#blobs.get(blob)?.get(piece) ?? 0
  }

  add(blob: Digest, piece: number): void {
    const counts = this.#blobs.get(blob) ?? new Map<number, number>()
    this.#blobs.delete(blob)
    this.#blobs.set(blob, counts)
    counts.set(piece, (counts.get(piece) ?? 0) + 1)
    const [oldest] = this.#blobs.keys()
    if (this.#blobs.size > MAX_BLOBS && oldest !== undefined) this.#blobs.delete(oldest)
  }
}
