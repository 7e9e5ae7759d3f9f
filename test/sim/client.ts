import type { SwarmEvent } from '@layerswarm/agent/swarm/messages.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { PieceSet } from '@layerswarm/core/piece-set.ts'

/** A container runtime: it reads the layers of its image in order, each from its first byte on, a few at a time. */
export class SimClient {
  readonly #layers: readonly { readonly digest: Digest }[]
  readonly #atOnce: number
  readonly #host: { readonly has: ReadonlyMap<Digest, PieceSet>; readonly dispatch: (event: SwarmEvent) => void }
  /** The piece that it waits for of each layer that it reads. */
  readonly #reading = new Map<Digest, number>()
  #begun = 0

  constructor(
    layers: readonly { readonly digest: Digest }[],
    atOnce: number,
    host: { readonly has: ReadonlyMap<Digest, PieceSet>; readonly dispatch: (event: SwarmEvent) => void }
  ) {
    this.#layers = layers
    this.#atOnce = atOnce
    this.#host = host
  }

  /** Goes on to what it reads next: the next piece of a layer, or the next layer. */
  readOn(): void {
    for (const [blob, piece] of this.#reading) {
      const have = this.#host.has.get(blob)
      if (have?.has(piece) !== true) continue
      this.#host.dispatch({ type: 'reader', blob, piece, waiting: false })
      if (have.complete) this.#reading.delete(blob)
      else this.#await(blob, have)
    }
    while (this.#reading.size < this.#atOnce) {
      const layer = this.#layers[this.#begun++]
      if (layer === undefined) return
      const have = this.#host.has.get(layer.digest)
      if (have?.complete === false) this.#await(layer.digest, have)
    }
  }

  #await(blob: Digest, have: PieceSet): void {
    const piece = have.firstMissing()
    this.#reading.set(blob, piece)
    this.#host.dispatch({ type: 'reader', blob, piece, waiting: true })
  }
}
