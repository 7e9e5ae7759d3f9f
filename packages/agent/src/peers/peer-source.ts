import type { Digest } from '@layerswarm/core/digest.ts'
import { type PieceLayout, type PieceRun, pieceLength } from '@layerswarm/core/piece-layout.ts'
import type { Abortable, Availability, Faring, FetchedPiece, FetchOptions, PieceSource } from '../ports.ts'
import type { GetClient } from './get-client.ts'
import type { ObserveClient } from './observe-client.ts'
import type { PieceBuffers } from './piece-buffers.ts'

/** Pieces of one run that are asked for ahead: enough to hide the round trip. */
const AHEAD = 3
const JUST_BEGUN: Faring = { received: 0, elapsed: 0 }

export interface Neighbour {
  readonly observe: ObserveClient
  readonly get: GetClient
}

export interface PeerSourceDeps {
  /** The neighbour as it is connected now. @throws {LayerswarmError} PEER_UNREACHABLE */
  readonly neighbour: () => Neighbour
  readonly buffers: PieceBuffers
}

export interface PeerSourceOptions {
  readonly id: string
  readonly blob: Digest
  readonly layout: PieceLayout
  readonly wantMap: boolean
}

/** One blob at one peer. It survives the connection: what is asked for later goes over the next one. */
export class PeerSource implements PieceSource {
  readonly kind = 'peer'
  readonly id: string
  readonly #deps: PeerSourceDeps
  readonly #options: PeerSourceOptions

  constructor(deps: PeerSourceDeps, options: PeerSourceOptions) {
    this.id = options.id
    this.#deps = deps
    this.#options = options
  }

  async *available(options: Abortable = {}): AsyncGenerator<Availability> {
    options.signal?.throwIfAborted()
    const { blob, layout, wantMap } = this.#options
    yield* this.#deps.neighbour().observe.watch(blob, layout, wantMap, options)
  }

  async *fetch(run: PieceRun, options: FetchOptions = {}): AsyncGenerator<FetchedPiece> {
    const { signal, faring = JUST_BEGUN } = options
    signal?.throwIfAborted()
    const end = run.first + run.count
    if (end > this.#options.layout.pieces) throw new RangeError(`there is no piece ${end - 1}`)
    const { get } = this.#deps.neighbour()
    const stop = new AbortController()
    const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
    const asked: Promise<Uint8Array>[] = []
    let next = run.first
    try {
      for (let piece = run.first; piece < end; piece++) {
        for (; next < end && asked.length < AHEAD; next++) asked.push(this.#ask(get, next, { ...options, faring, signal: both }))
        const bytes = await (asked.shift() as Promise<Uint8Array>)
        try {
          yield { piece, bytes }
        } finally {
          this.#deps.buffers.give(bytes)
        }
      }
    } finally {
      // Without a need it costs an exception with its stack for each piece.
      if (asked.length > 0) stop.abort(signal?.reason)
      for (const late of asked)
        late.then(
          (bytes) => this.#deps.buffers.give(bytes),
          () => undefined
        )
    }
  }

  withdraw(piece: number): void {
    try {
      this.#deps.neighbour().get.withdraw(this.#options.blob, piece)
    } catch {
      // What was asked of it has failed with the connection.
    }
  }

  async #ask(
    get: GetClient,
    piece: number,
    { signal, ...wish }: FetchOptions & { readonly faring: Faring; readonly signal: AbortSignal }
  ): Promise<Uint8Array> {
    const { blob, layout } = this.#options
    const bytes = get.piece({ blob, piece, length: pieceLength(layout, piece), ...wish }, { signal })
    // One that fails while an earlier one is awaited must not count as unhandled.
    bytes.catch(() => undefined)
    return await bytes
  }
}
