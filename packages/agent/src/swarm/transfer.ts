import { type Claim, claimedPieces, encodeClaim } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { type PieceRun, pieceLength } from '@layerswarm/core/piece-layout.ts'
import type { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Logger } from 'pino'
import type { ContentRef, Faring, FetchedPiece, PartialBlob, PieceSource, SourceCounts } from '../ports.ts'
import { ClaimBook, type ClaimTrust } from './claim-book.ts'
import type { FailReason, SwarmEvent } from './messages.ts'
import { Underway } from './underway.ts'

export interface TransferDeps {
  readonly dispatch: (event: SwarmEvent) => void
  readonly log: Logger
  /** The blob at a neighbour. */
  readonly peerSource: (peer: string, wantMap: boolean) => PieceSource
  readonly registrySource: () => PieceSource
  /** This host's claim on a piece it fetched under a lease; undefined where it has none to give. */
  readonly claim: (piece: number, hash: Uint8Array) => Promise<Claim | undefined>
  readonly trust: ClaimTrust
  readonly onPieceFailure: (reason: 'mismatch' | 'unreachable' | 'gone') => void
  readonly onBytes: (source: 'peer' | 'registry', bytes: number) => void
  /** A proven map shows that these pieces, here on somebody's word, are false. */
  readonly refuted: (pieces: readonly number[]) => void
  /** Nothing more can be stored: the fetch is over. */
  readonly abandon: (error: unknown) => void
}

/** One blob on its way here: carries out the scheduler's commands for it and reports what came of them. */
export class Transfer {
  readonly ref: ContentRef
  readonly partial: PartialBlob
  readonly book: ClaimBook
  readonly #deps: TransferDeps
  readonly #closed = new AbortController()
  readonly #observed = new Set<string>()
  readonly #requests = new Map<string, AbortController>()
  /** Requests taken back whose answer had not begun, as far as this end knew. */
  readonly #withdrawn = new Set<string>()
  readonly #fetches = new Map<number, AbortController>()
  readonly #fromRegistry = new Set<number>()
  readonly #underway = new Underway()
  readonly #present: PieceSet
  #counts: { local: number; peer: number; registry: number }
  /** The last thing that went wrong at the registry: what a reader is told when nothing is left. */
  #registryError: unknown

  constructor(ref: ContentRef, partial: PartialBlob, deps: TransferDeps) {
    this.ref = ref
    this.partial = partial
    this.#deps = deps
    this.book = new ClaimBook(ref.digest, partial.layout, deps.trust)
    this.#present = partial.have()
    let local = 0
    for (const piece of this.#present) local += pieceLength(partial.layout, piece)
    this.#counts = { local, peer: 0, registry: 0 }
  }

  get digest(): Digest {
    return this.ref.digest
  }

  get counts(): SourceCounts {
    return this.#counts
  }

  /** Bytes that have come so far, those of pieces that are not whole included. */
  get moved(): number {
    return this.#underway.moved
  }

  /** What its limits know it by: all blobs of an image are one pull. */
  get pull(): string {
    return `${this.ref.registry}/${this.ref.repository}`
  }

  /** Tells what has come of pieces that are not whole yet, if anything has since the last time. */
  tellArriving(): void {
    const news = this.#underway.take()
    if (news !== undefined) this.#deps.dispatch({ type: 'arriving', blob: this.digest, ...news })
  }

  has(piece: number): boolean {
    return this.#present.has(piece)
  }

  get registryError(): unknown {
    return this.#registryError
  }

  /** Pieces that this process fetched from the registry itself: they need nobody's word. */
  get fromRegistry(): ReadonlySet<number> {
    return this.#fromRegistry
  }

  /** Takes in claims kept from an earlier process. */
  recallClaims(): void {
    this.#vouched(this.book.add(this.partial.claims().map(encodeClaim)))
  }

  setMap(hashes: Uint8Array, proven: boolean): void {
    if (!this.book.setMap(hashes, proven)) return
    this.#deps.dispatch({ type: 'map', blob: this.digest, proven })
    if (!proven || this.partial.complete) return
    const wrong = [...this.#present].filter((piece) => {
      const [hash, expected] = [this.partial.hashOf(piece), this.book.expected(piece)?.[0]]
      return hash !== undefined && expected !== undefined && Buffer.compare(hash, expected) !== 0
    })
    if (wrong.length > 0) this.#deps.refuted(wrong)
  }

  /** Follows what `peer` has until the transfer closes or the peer goes. */
  observe(peer: string): void {
    if (this.#observed.has(peer) || this.#closed.signal.aborted) return
    this.#observed.add(peer)
    const wantMap = !this.#deps.trust.connected && this.partial.layout.pieces > 1
    void this.#follow(peer, this.#deps.peerSource(peer, wantMap), this.#closed.signal)
      .catch((error: unknown) => this.#deps.log.debug({ peer, error: describeError(error) }, 'observation ended'))
      .finally(() => this.#observed.delete(peer))
  }

  async #follow(peer: string, source: PieceSource, signal: AbortSignal): Promise<void> {
    const blob = this.digest
    for await (const news of source.available({ signal })) {
      if (news.map !== undefined) this.setMap(news.map, false)
      if (news.claims !== undefined && news.claims.length > 0 && !this.book.mapProven) this.#vouched(this.book.add(news.claims))
      this.#deps.dispatch({ type: 'available', peer, blob, pieces: news.pieces, load: news.load, gone: news.gone === true })
    }
  }

  #vouched(claims: readonly Claim[]): void {
    if (claims.length === 0) return
    this.partial.addClaims(claims)
    for (const claim of claims) {
      const { first, count } = claimedPieces(claim)
      for (let piece = first; piece < first + count; piece++) {
        if (this.book.expected(piece) === undefined) continue
        this.#deps.dispatch({ type: 'vouched', blob: this.digest, run: { first: piece, count: 1 } })
      }
    }
  }

  request(peer: string, piece: number, faring: Faring): void {
    const key = `${peer} ${piece}`
    const stop = new AbortController()
    this.#requests.set(key, stop)
    void this.#ask(peer, piece, faring, AbortSignal.any([stop.signal, this.#closed.signal])).finally(() => {
      if (this.#requests.get(key) !== stop) return
      this.#requests.delete(key)
      this.#withdrawn.delete(key)
    })
  }

  /** Takes a request back if its answer has not begun; else its piece comes as if nothing had been said. */
  withdraw(peer: string, piece: number): void {
    const key = `${peer} ${piece}`
    if (!this.#requests.has(key)) return
    this.#withdrawn.add(key)
    this.#deps.peerSource(peer, false).withdraw?.(piece)
  }

  cancel(peer: string, piece: number): void {
    this.#requests.get(`${peer} ${piece}`)?.abort(new LayerswarmError('STALLED', { blame: 'local' }))
    this.#requests.delete(`${peer} ${piece}`)
    this.#withdrawn.delete(`${peer} ${piece}`)
  }

  async #ask(peer: string, piece: number, faring: Faring, signal: AbortSignal): Promise<void> {
    const blob = this.digest
    const options = { signal, faring, pull: this.pull, onProgress: (bytes: number) => this.#underway.fromPeer(peer, bytes) }
    try {
      for await (const part of this.#deps.peerSource(peer, false).fetch({ first: piece, count: 1 }, options)) {
        const expected = this.book.expected(part.piece)
        if (part.piece !== piece) throw new LayerswarmError('PEER_PROTOCOL', { detail: 'another piece than asked for' })
        // Whoever vouched for it may have lost that trust while it was under way; bytes of a peer are never taken unchecked.
        if (expected === undefined) throw new LayerswarmError('STALLED', { detail: 'nothing vouches for the piece', blame: 'local' })
        await this.partial.write(piece, part.bytes, expected)
        this.#landed(piece, peer, part.bytes.byteLength)
      }
    } catch (error) {
      if (signal.aborted) return
      if (isLayerswarmError(error, 'STALLED') && this.#withdrawn.delete(`${peer} ${piece}`))
        return this.#deps.dispatch({ type: 'withdrawn', blob, piece, peer })
      const reason = this.#peerFailure(error)
      if (reason === 'local') return this.#deps.abandon(error)
      this.#deps.log.debug({ peer, piece, error: describeError(error) }, 'piece request failed')
      this.#deps.onPieceFailure(reason === 'lie' || reason === 'doubtful' ? 'mismatch' : reason)
      if (reason === 'lie' && this.#deps.trust.disputed === true && !this.book.mapProven && isLayerswarmError(error, 'PIECE_MISMATCH')) {
        this.#deps.dispatch({ type: 'failed', blob, piece, peer, reason: 'doubtful' })
        return
      }
      if (reason === 'lie' && this.book.hasMap && !this.book.mapProven) {
        // The map is one host's word: a piece that fails it proves nothing against its sender.
        this.book.dropMap()
        this.#deps.dispatch({ type: 'failed', blob, piece, peer, reason: 'unreachable' })
        this.#deps.dispatch({ type: 'mapFailed', blob, vouched: this.book.claimed() })
        return
      }
      this.#deps.dispatch({ type: 'failed', blob, piece, peer, reason })
    }
  }

  #peerFailure(error: unknown): FailReason {
    if (isLayerswarmError(error, 'PIECE_MISMATCH', 'DIGEST_MISMATCH', 'PEER_PROTOCOL')) return 'lie'
    if (isLayerswarmError(error, 'PEER_GONE')) return 'gone'
    if (isLayerswarmError(error, 'STORE_FULL', 'STORE_FAILED')) return 'local'
    return 'unreachable'
  }

  #landed(piece: number, from: string, bytes: number): void {
    const source = from === 'registry' ? 'registry' : 'peer'
    // A piece may come twice: the bytes were received, and reported, but the blob has them once.
    if (this.#present.add(piece)) {
      this.#counts[source] += bytes
      if (source === 'registry') this.#fromRegistry.add(piece)
    }
    this.#deps.onBytes(source, bytes)
    this.#deps.dispatch({ type: 'landed', blob: this.digest, piece, from, bytes })
  }

  fetch(id: number, run: PieceRun): void {
    const stop = new AbortController()
    this.#fetches.set(id, stop)
    void this.#stream(id, run, AbortSignal.any([stop.signal, this.#closed.signal])).finally(() => {
      this.#fetches.delete(id)
      this.#underway.ended(id)
    })
  }

  stopFetch(id: number): void {
    this.#fetches.get(id)?.abort(new LayerswarmError('STALLED', { blame: 'local' }))
  }

  async #stream(id: number, run: PieceRun, signal: AbortSignal): Promise<void> {
    const blob = this.digest
    try {
      let first = true
      const onProgress = (bytes: number) => this.#underway.fromRegistry(id, bytes)
      for await (const part of this.#deps.registrySource().fetch(run, { signal, onProgress })) {
        if (first && part.piece !== run.first) this.#deps.dispatch({ type: 'noRange', blob })
        first = false
        await this.#store(part)
        this.#underway.ended(id)
      }
      this.#deps.dispatch({ type: 'fetchEnded', blob, fetch: id })
    } catch (error) {
      if (signal.aborted) return
      if (isLayerswarmError(error, 'STORE_FULL', 'STORE_FAILED')) return this.#deps.abandon(error)
      this.#registryError = error
      this.#deps.log.debug({ run, error: describeError(error) }, 'registry fetch failed')
      const refused = isLayerswarmError(error, 'NOT_FOUND', 'REGISTRY_DENIED', 'REGISTRY_NOT_ALLOWED', 'SIZE_MISMATCH')
      const reason = refused ? 'refused' : isLayerswarmError(error, 'REGISTRY_BUSY') ? 'busy' : 'failed'
      this.#deps.dispatch({ type: 'fetchFailed', blob, fetch: id, reason })
    }
  }

  async #store({ piece, bytes }: FetchedPiece): Promise<void> {
    const proven = this.book.mapProven || this.partial.layout.pieces === 1 ? this.book.expected(piece) : undefined
    const vouch = proven === undefined ? (hash: Uint8Array) => this.#vouchFor(piece, hash) : undefined
    await this.partial.write(piece, bytes, proven, vouch)
    this.#landed(piece, 'registry', bytes.byteLength)
  }

  async #vouchFor(piece: number, hash: Uint8Array): Promise<Claim | undefined> {
    const claim = await this.#deps.claim(piece, hash)
    if (claim !== undefined) this.book.addOwn(claim)
    return claim
  }

  /** Ends everything under way. The partial blob is the caller's to dispose. */
  close(): void {
    this.#closed.abort(new LayerswarmError('STALLED', { detail: 'the fetch was closed', blame: 'local' }))
  }
}
