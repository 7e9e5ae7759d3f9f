import type { Abortable, Availability, FetchedPiece, PeerEvent, PeerNetwork, PieceSource } from '@layerswarm/agent/ports.ts'
import { type Claim, encodeClaim } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { PieceRun } from '@layerswarm/core/piece-layout.ts'
import type { PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import type { FixtureBlob } from './blob-fixtures.ts'
import { Feed } from './feed.ts'

interface Held {
  readonly blob: FixtureBlob
  readonly pieces: Set<number>
  readonly feed: Feed<Availability>
  claims: readonly Claim[]
  map?: Uint8Array
}

/** A host in memory, and how it misbehaves. */
export class MemoryPeer {
  readonly id: string
  readonly #held = new Map<Digest, Held>()
  /** Every piece asked of it. */
  readonly asked: number[] = []
  readonly watched: Digest[] = []
  /** What it sends in place of a piece. */
  sends: (piece: number, bytes: Uint8Array) => Uint8Array = (_, bytes) => bytes
  /** When set, every request fails with it. */
  error: Error | undefined
  /** Requests are not answered before it settles. */
  gate: Promise<unknown> | undefined
  /** Uploads that it says it has. */
  load = 0
  /** What ends the requests for each piece that stand at the gate. */
  readonly #waiting = new Map<number, (error: Error) => void>()

  constructor(id: string) {
    this.id = id
  }

  /** Gives it pieces of `blob` (all by default), with what vouches for them. */
  give(blob: FixtureBlob, options: { pieces?: Iterable<number>; claims?: readonly Claim[]; map?: Uint8Array } = {}): void {
    const { pieces = Array(blob.layout.pieces).keys(), claims = [], map } = options
    const held = this.#hold(blob)
    const news = [...pieces]
    for (const piece of news) held.pieces.add(piece)
    held.claims = [...held.claims, ...claims]
    if (map !== undefined) held.map = map
    held.feed.publish({ pieces: news, load: this.load, claims: claims.map(encodeClaim), ...(map !== undefined && { map }) })
  }

  #hold(blob: FixtureBlob): Held {
    const held = this.#held.get(blob.digest) ?? { blob, pieces: new Set<number>(), feed: new Feed<Availability>(), claims: [] }
    this.#held.set(blob.digest, held)
    return held
  }

  source(digest: Digest, closed: AbortSignal): PieceSource {
    return {
      id: this.id,
      kind: 'peer',
      available: ({ signal } = {}) => this.#available(digest, signal === undefined ? closed : AbortSignal.any([signal, closed])),
      fetch: (run, { signal } = {}) => this.#fetch(digest, run, signal === undefined ? closed : AbortSignal.any([signal, closed])),
      withdraw: (piece) => this.#waiting.get(piece)?.(new LayerswarmError('STALLED'))
    }
  }

  async *#available(digest: Digest, signal: AbortSignal): AsyncGenerator<Availability> {
    this.watched.push(digest)
    const held = this.#held.get(digest)
    const feed = held?.feed ?? new Feed<Availability>()
    const { claims = [], map } = held ?? {}
    yield* feed.listen({
      signal,
      first: [{ pieces: [...(held?.pieces ?? [])], load: this.load, claims: claims.map(encodeClaim), ...(map !== undefined && { map }) }]
    })
  }

  async *#fetch(digest: Digest, run: PieceRun, signal: AbortSignal): AsyncGenerator<FetchedPiece> {
    for (let piece = run.first; piece < run.first + run.count; piece++) {
      this.asked.push(piece)
      const aborted = Promise.withResolvers<never>()
      aborted.promise.catch(() => undefined)
      const onAbort = () => aborted.reject(signal.reason)
      signal.addEventListener('abort', onAbort)
      this.#waiting.set(piece, aborted.reject)
      try {
        signal.throwIfAborted()
        await Promise.race([this.gate, aborted.promise])
      } finally {
        signal.removeEventListener('abort', onAbort)
        this.#waiting.delete(piece)
      }
      if (this.error !== undefined) throw this.error
      const held = this.#held.get(digest)
      if (held?.pieces.has(piece) !== true) throw new LayerswarmError('PEER_GONE')
      yield { piece, bytes: this.sends(piece, Uint8Array.from(held.blob.piece(piece))) }
    }
  }
}

/** Peers in memory behind the network's seam: connected when the test, or the agent, says so. */
export class MemoryPeerNetwork implements PeerNetwork {
  readonly id: string
  readonly peers = new Map<string, MemoryPeer>()
  readonly #up = new Map<string, AbortController>()
  readonly #events = new Feed<PeerEvent>()
  readonly banned: string[] = []
  readonly dialled: string[] = []

  constructor(id: string) {
    this.id = id
  }

  /** Makes a peer that is not connected yet. */
  add(id: string): MemoryPeer {
    const peer = new MemoryPeer(id)
    this.peers.set(id, peer)
    return peer
  }

  up(id: string): void {
    if (this.#up.has(id)) return
    this.#up.set(id, new AbortController())
    this.#events.publish({ type: 'up', peer: id })
  }

  down(id: string): void {
    const closed = this.#up.get(id)
    if (closed === undefined) return
    this.#up.delete(id)
    this.#events.publish({ type: 'down', peer: id })
    closed.abort(new LayerswarmError('PEER_UNREACHABLE', { detail: 'the connection is closed' }))
  }

  /** A peer begins to observe a blob here. */
  watch(event: Omit<Extract<PeerEvent, { type: 'watched' }>, 'type'>): void {
    this.#events.publish({ type: 'watched', ...event })
  }

  async connect(peer: PeerAddress, { signal }: Abortable = {}): Promise<void> {
    signal?.throwIfAborted()
    this.dialled.push(peer.id)
    if (!this.peers.has(peer.id)) throw new LayerswarmError('PEER_UNREACHABLE', { detail: peer.id })
    this.up(peer.id)
  }

  connected(): readonly string[] {
    return [...this.#up.keys()]
  }

  source(peer: string, blob: Digest): PieceSource {
    const closed = this.#up.get(peer)?.signal ?? AbortSignal.abort(new LayerswarmError('PEER_UNREACHABLE'))
    return (this.peers.get(peer) ?? new MemoryPeer(peer)).source(blob, closed)
  }

  ban(peer: string): void {
    this.banned.push(peer)
    this.down(peer)
  }

  events(options: Abortable = {}): AsyncIterable<PeerEvent> {
    return this.#events.listen(options)
  }
}
