import { type Claim, claimedPieces, encodeClaim } from '@layerswarm/core/claims.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { type FramedStream, SEND_AHEAD } from '@layerswarm/core/p2p/framed-stream.ts'
import { MAX_LISTED_PIECES } from '@layerswarm/core/wire/fields.ts'
import { decodeMessage } from '@layerswarm/core/wire/frames.ts'
import {
  MAX_LISTED_CLAIMS,
  MAX_WATCHED_BLOBS,
  type ObserveRequest,
  type ObserveUpdate,
  observeRequest
} from '@layerswarm/core/wire/peer-protocol.ts'
import type { Logger } from 'pino'
import type { BlobReader, BlobStore, HoldingChange } from '../ports.ts'
import { COMMON_BATCH_MS, HAVE_BATCH_MS, HaveBatches } from './have-batches.ts'

interface Watch {
  readonly blob: Digest
  readonly size: number
  readonly wantMap: boolean
  readonly stop: AbortController
  /** Pieces that landed and were not told yet. */
  readonly pending: number[]
  /** Claims gathered to be told before the pieces, and how many were gathered so far: they are gone once the blob is committed. */
  readonly claims: Claim[]
  gathered: number
  /** Pieces that the watcher itself vouches for: it waits to hear that they have spread. */
  readonly authored: Set<number>
  answered: boolean
  /** What the watcher knows: nothing is held, some of it and more to come, or all of it. */
  told: 'nothing' | 'some' | 'all'
  following: boolean
  /** The store changed while the last look at it was under way. */
  lookAgain: boolean
}

export interface ObserveServerDeps {
  readonly store: Pick<BlobStore, 'open'>
  readonly clock: Clock
  readonly log: Logger
  /** Uploads active and queued. */
  readonly load: () => number
  readonly peerHas: (peer: string, blob: Digest, piece: number) => boolean
  /** Whether several neighbours have the piece. */
  readonly isCommon: (blob: Digest, piece: number) => boolean
  readonly onWatched: (peer: string, blob: Digest, size: number) => void
  readonly onViolation: (peer: string, error: LayerswarmError) => void
}

/** Answers `observe` streams: what is held here, and what is added, of the blobs that each peer watches. */
export class ObserveServer {
  readonly #deps: ObserveServerDeps
  readonly #sessions = new Set<Session>()
  readonly #batches: HaveBatches

  constructor(deps: ObserveServerDeps) {
    this.#deps = deps
    this.#batches = new HaveBatches(deps.clock)
  }

  accept(stream: FramedStream): void {
    const session = new Session(stream, this.#deps, this.#batches, () => this.#sessions.delete(session))
    this.#sessions.add(session)
  }

  onChange(change: HoldingChange): void {
    for (const session of this.#sessions) session.onChange(change)
  }

  async close(): Promise<void> {
    this.#batches.close()
    await Promise.all([...this.#sessions].map(async (session) => await session.close()))
  }
}

/** One peer that watches. */
class Session {
  readonly #stream: FramedStream
  readonly #deps: ObserveServerDeps
  readonly #batches: HaveBatches
  readonly #watches = new Map<Digest, Watch>()
  readonly #due = new Set<Watch>()
  readonly #ended = new AbortController()

  constructor(stream: FramedStream, deps: ObserveServerDeps, batches: HaveBatches, onEnd: () => void) {
    this.#stream = stream
    this.#deps = deps
    this.#batches = batches
    stream.start({
      onMessage: (body) => this.#onRequest(decodeMessage(observeRequest, body)),
      onClose: (error) => {
        this.#ended.abort(error ?? new LayerswarmError('PEER_GONE', { detail: 'the peer ended the stream' }))
        for (const { stop } of this.#watches.values()) stop.abort(this.#ended.signal.reason)
        this.#watches.clear()
        this.#due.clear()
        onEnd()
        if (error?.code === 'PEER_PROTOCOL') deps.onViolation(stream.peer, error)
      }
    })
  }

  onChange({ change, digest }: HoldingChange): void {
    const watch = this.#watches.get(digest)
    if (watch === undefined) return
    if (change !== 'removed') this.#look(watch)
    else if (watch.told === 'all') this.#gone(watch)
  }

  async close(): Promise<void> {
    await this.#stream.close()
  }

  #onRequest(request: ObserveRequest): void {
    const { blob } = request
    this.#forget(blob)
    if (request.t === 'unwatch') return
    if (this.#watches.size >= MAX_WATCHED_BLOBS) throw new LayerswarmError('PEER_PROTOCOL', { detail: 'too many blobs watched' })
    const watch: Watch = {
      blob,
      size: request.size,
      wantMap: request.map === true,
      stop: new AbortController(),
      pending: [],
      claims: [],
      gathered: 0,
      authored: new Set(),
      answered: false,
      told: 'nothing',
      following: false,
      lookAgain: false
    }
    this.#watches.set(blob, watch)
    this.#look(watch)
    this.#deps.onWatched(this.#stream.peer, blob, request.size)
  }

  #forget(blob: Digest): void {
    const watch = this.#watches.get(blob)
    if (watch === undefined) return
    watch.stop.abort(new LayerswarmError('PEER_GONE', { detail: 'no longer watched' }))
    this.#watches.delete(blob)
    this.#due.delete(watch)
  }

  /** Begins to follow the blob, if it is here. */
  #look(watch: Watch): void {
    if (watch.following) {
      watch.lookAgain = true
      return
    }
    watch.following = true
    watch.lookAgain = false
    this.#follow(watch)
      .catch((error: unknown) => {
        if (watch.stop.signal.aborted) return
        this.#deps.log.debug({ peer: this.#stream.peer, error: describeError(error) }, 'a blob that a peer watches is no longer fetched')
        if (watch.told === 'some') this.#gone(watch)
      })
      .finally(() => {
        watch.following = false
        if (watch.lookAgain && watch.told !== 'all' && !watch.stop.signal.aborted) this.#look(watch)
      })
  }

  async #follow(watch: Watch): Promise<void> {
    const { blob, size, stop } = watch
    const reader = await this.#deps.store.open(blob)
    try {
      if (stop.signal.aborted) return
      if (reader === undefined || reader.layout.size !== size) {
        if (!watch.answered) this.#send({ t: 'state', blob, size, load: this.#deps.load() })
        watch.answered = true
        return
      }
      if (!reader.complete) await this.#followPartial(watch, reader)
      else this.#tellState(watch, reader)
      watch.told = 'all'
      const hashes = watch.wantMap ? await reader.map() : undefined
      if (hashes !== undefined && !stop.signal.aborted) this.#send({ t: 'map', blob, size, hashes })
    } finally {
      await reader?.[Symbol.asyncDispose]()
    }
  }

  async #followPartial(watch: Watch, reader: BlobReader): Promise<void> {
    // What lands is gathered from here on; what is there now is told at once.
    const landed = reader.landed({ signal: watch.stop.signal })
    watch.told = 'some'
    watch.gathered = 0
    this.#gatherClaims(watch, reader)
    this.#tellState(watch, reader)
    for await (const pieces of landed) {
      this.#gatherClaims(watch, reader)
      watch.pending.push(...pieces)
      this.#due.add(watch)
      const common = pieces.every((piece) => this.#deps.isCommon(watch.blob, piece))
      this.#batches.add(this, common ? COMMON_BATCH_MS : HAVE_BATCH_MS)
    }
  }

  #tellState(watch: Watch, reader: BlobReader): void {
    const claims = this.#claims(watch)
    watch.pending.length = 0
    const have = reader.have()
    const news = have.count > 0 || !watch.answered
    watch.answered = true
    const { blob, size } = watch
    this.#stream.send(...claims, ...(news ? [{ t: 'state', blob, size, bits: have.encode(), load: this.#deps.load() } as const] : []))
  }

  #gatherClaims(watch: Watch, reader: BlobReader): void {
    const fresh = reader.claims(watch.gathered)
    watch.gathered += fresh.length
    for (const claim of fresh) {
      if (claim.author !== this.#stream.peer) watch.claims.push(claim)
      else for (const piece of piecesOf(claim)) watch.authored.add(piece)
    }
  }

  /** Claims go out before the haves that they vouch for, and as they came; who has the pieces has had them. */
  #claims({ blob, claims }: Watch): ObserveUpdate[] {
    const news = claims.splice(0).filter((claim) => piecesOf(claim).some((piece) => !this.#has(blob, piece)))
    const updates: ObserveUpdate[] = []
    while (news.length > 0) updates.push({ t: 'claims', blob, claims: news.splice(0, MAX_LISTED_CLAIMS).map(encodeClaim) })
    return updates
  }

  #has(blob: Digest, piece: number): boolean {
    return this.#deps.peerHas(this.#stream.peer, blob, piece)
  }

  #gone(watch: Watch): void {
    watch.told = 'nothing'
    watch.pending.length = 0
    this.#due.delete(watch)
    this.#send({ t: 'gone', blob: watch.blob })
  }

  /** Tells what is due. @returns false while the watcher reads too slowly: it gets larger batches, not a longer queue */
  tellHaves(): boolean {
    if (this.#stream.open && this.#stream.unsent >= SEND_AHEAD) return false
    const updates = [...this.#due].flatMap((watch) => this.#haves(watch))
    this.#due.clear()
    this.#stream.send(...updates)
    return true
  }

  /** What the watcher has is no news to it, but for what it vouches for: from the haves of others it learns that it has spread. */
  #haves(watch: Watch): ObserveUpdate[] {
    const { blob, authored } = watch
    const news = watch.pending.splice(0).filter((piece) => authored.has(piece) || !this.#has(blob, piece))
    const updates = news.length > 0 ? this.#claims(watch) : []
    while (news.length > 0) updates.push({ t: 'have', blob, pieces: news.splice(0, MAX_LISTED_PIECES), load: this.#deps.load() })
    return updates
  }

  #send(update: ObserveUpdate): void {
    this.#stream.send(update)
  }
}

function piecesOf(claim: Claim): number[] {
  const { first, count } = claimedPieces(claim)
  return Array.from({ length: count }, (_, at) => first + at)
}
