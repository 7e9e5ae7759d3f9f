import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import { pieceLength } from '@layerswarm/core/piece-layout.ts'
import type { Throttle } from '@layerswarm/core/rate-limiter.ts'
import { decodeMessage } from '@layerswarm/core/wire/frames.ts'
import { type GetReply, type GetRequest, getRequest, MAX_QUEUED_REQUESTS } from '@layerswarm/core/wire/peer-protocol.ts'
import type { Logger } from 'pino'
import type { BlobReader, UploadPolicy, UploadRequest } from '../ports.ts'
import type { PieceBuffers } from './piece-buffers.ts'
import type { ReaderPool } from './reader-pool.ts'
import { ServedCounts } from './served-counts.ts'
import { type Progress, UploadWatch } from './upload-watch.ts'

/** Uploads at a time: with more, everybody's piece comes later and nobody's sooner. */
export const UPLOADS = 2
/** Uploads at a time while others are blocked by their receivers: what waits for those may be this many pieces. */
export const MAX_UPLOADS = 16
/** A rate over less time than this says nothing, ms. */
export const SHORTEST_MS = 100
/** What is handed to the stream at once; small enough that progress shows on slow links. */
const SLICE_BYTES = 256 * 1024

interface Waiting {
  readonly id: number
  readonly blob: Digest
  readonly piece: number
  readonly received: number
  /** When its sender began to fetch, as far as is known. */
  readonly since: number
  readonly stream: FramedStream
}

interface Active extends Progress {
  readonly request: Waiting
  readonly ended: PromiseWithResolvers<void>
  /** Its bytes are announced, so that nothing else can be said any more. */
  announced: boolean
}

interface Refusal {
  readonly id: number
  readonly reason: 'gone' | 'missing' | 'cancelled'
}

export interface UploadsDeps {
  readonly readers: ReaderPool
  readonly buffers: PieceBuffers
  readonly policy: UploadPolicy
  readonly clock: Clock
  readonly log: Logger
  readonly metrics?: { readonly sent: (bytes: number) => void } | undefined
  /** What may be sent to peers, who share it alike. */
  readonly throttle?: Throttle | undefined
  /** Told when a peer breaks the protocol; its stream is gone then. */
  readonly onViolation: (peer: string, error: LayerswarmError) => void
}

/** Answers `get` streams: one queue for all peers, few uploads at a time, in the order that the policy says. */
export class Uploads {
  readonly #deps: UploadsDeps
  readonly #waiting: Waiting[] = []
  readonly #active = new Set<Active>()
  /** The upload whose bytes are being handed to each stream: answers on one stream follow one another. */
  readonly #busy = new Map<FramedStream, Active>()
  /** Streams in the middle of a piece, and what is to be said on them after it. */
  readonly #midway = new Map<FramedStream, Refusal[]>()
  readonly #served = new ServedCounts()
  /** Open streams, and what ends the waits on their behalf. */
  readonly #streams = new Map<FramedStream, AbortController>()
  readonly #closed = new AbortController()
  readonly #watch: UploadWatch
  #draining = false

  constructor(deps: UploadsDeps) {
    this.#deps = deps
    this.#watch = new UploadWatch({ clock: deps.clock, active: this.#active, onLook: () => this.#pump(), signal: this.#closed.signal })
  }

  /** Uploads active and queued. */
  get load(): number {
    return this.#active.size + this.#waiting.length
  }

  accept(stream: FramedStream): void {
    const ended = new AbortController()
    this.#streams.set(stream, ended)
    stream.start({
      onMessage: (body) => this.#onRequest(stream, decodeMessage(getRequest, body)),
      onClose: (error) => {
        this.#streams.delete(stream)
        ended.abort(error ?? new LayerswarmError('PEER_GONE', { detail: 'the peer ended the stream' }))
        this.#dropWaiting((request) => request.stream === stream)
        if (error?.code === 'PEER_PROTOCOL') this.#deps.onViolation(stream.peer, error)
      }
    })
  }

  /** Refuses what waits, and gives active uploads until `signal` to end; then all streams are closed. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#draining = true
    for (const { stream, id } of this.#dropWaiting(() => true)) this.#refuse(stream, { id, reason: 'gone' })
    const { promise: late, resolve } = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => resolve())
    await Promise.race([Promise.all([...this.#active].map(({ ended }) => ended.promise)), late])
    await Promise.all([...this.#streams.keys()].map(async (stream) => await stream.close()))
    this.#closed.abort()
  }

  #onRequest(stream: FramedStream, request: GetRequest): void {
    if (request.t === 'cancel') {
      // Where it is not found it has been answered, or is being: the opener resets the stream for that.
      const [cancelled] = this.#dropWaiting((waiting) => waiting.stream === stream && waiting.id === request.id)
      if (cancelled !== undefined) this.#refuse(stream, { id: request.id, reason: 'cancelled' })
      return
    }
    const { id, blob, piece, received, elapsed } = request
    const own = this.#waiting.filter((waiting) => waiting.stream === stream)
    if (own.length >= MAX_QUEUED_REQUESTS) throw new LayerswarmError('PEER_PROTOCOL', { detail: 'too many requests at once' })
    if (own.some((waiting) => waiting.id === id)) throw new LayerswarmError('PEER_PROTOCOL', { detail: 'a request id twice' })
    if (this.#draining) this.#refuse(stream, { id, reason: 'gone' })
    else this.#waiting.push({ id, blob, piece, received, since: this.#deps.clock.now() - elapsed, stream })
    this.#pump()
  }

  #pump(): void {
    for (let request = this.#next(); request !== undefined; request = this.#next()) {
      const progressAt = this.#deps.clock.now()
      const { stream } = request
      const active: Active = {
        request,
        stream,
        ended: Promise.withResolvers(),
        progressAt,
        blocked: false,
        announced: false,
        held: false
      }
      this.#active.add(active)
      this.#busy.set(stream, active)
      void this.#run(active)
    }
  }

  /**
   * Takes the next request off the queue: one of a peer that nothing goes to, where there is a place. While nobody else
   * waits, the next piece for a peer is read from disk as the one before it leaves; that takes no further place.
   */
  #next(): Waiting | undefined {
    if (this.#active.size >= MAX_UPLOADS) return undefined
    const going = new Map<FramedStream, number>()
    const flowing = new Set<FramedStream>()
    for (const { request, blocked } of this.#active) {
      going.set(request.stream, (going.get(request.stream) ?? 0) + 1)
      if (!blocked) flowing.add(request.stream)
    }
    const fresh = this.#waiting.filter(({ stream }) => !going.has(stream))
    if (fresh.length > 0) return flowing.size < UPLOADS ? this.#choose(fresh) : undefined
    return this.#choose(this.#waiting.filter(({ stream }) => !this.#busy.has(stream) && going.get(stream) === 1))
  }

  #choose(eligible: readonly Waiting[]): Waiting | undefined {
    if (eligible.length === 0) return undefined
    const now = this.#deps.clock.now()
    const view = eligible.map(
      ({ stream, blob, piece, received, since }): UploadRequest => ({
        peer: stream.peer,
        blob,
        piece,
        rate: received / Math.max(SHORTEST_MS, now - since),
        served: this.#served.of(blob, piece)
      })
    )
    const chosen = eligible[this.#deps.policy(view)] ?? eligible[0]
    if (chosen !== undefined) this.#waiting.splice(this.#waiting.indexOf(chosen), 1)
    return chosen
  }

  async #run(active: Active): Promise<void> {
    const { request } = active
    const { stream, id } = request
    this.#watch.start()
    try {
      await this.#deps.readers.use(request.blob, async (reader) => {
        const bytes = reader && (await this.#read(reader, request.piece))
        if (bytes === undefined) this.#refuse(stream, { id, reason: reader === undefined ? 'gone' : 'missing' })
        else await this.#send(active, bytes)
      })
    } catch (error) {
      // Whatever it was: who gets no answer goes on waiting for one.
      if (!active.announced) this.#refuse(stream, { id, reason: 'missing' })
      this.#deps.log.debug({ peer: stream.peer, error: describeError(error) }, 'upload ended')
    } finally {
      this.#active.delete(active)
      active.ended.resolve()
      this.#free(active)
      this.#pump()
    }
  }

  async #send(active: Active, bytes: Uint8Array): Promise<void> {
    const { stream, id, blob, piece } = active.request
    const onProgress = () => {
      active.progressAt = this.#deps.clock.now()
      active.blocked = false
    }
    this.#served.add(blob, piece)
    active.announced = true
    const reply: GetReply = { t: 'data', id, length: bytes.byteLength, load: this.load }
    stream.send(reply)
    this.#midway.set(stream, [])
    try {
      const sliceBytes = Math.min(SLICE_BYTES, this.#deps.throttle?.grain ?? SLICE_BYTES)
      for (let at = 0; at < bytes.byteLength; at += sliceBytes) {
        const slice = bytes.subarray(at, at + sliceBytes)
        await this.#mayPass(active, slice.byteLength)
        stream.sendRaw(slice)
        await stream.drained({ onProgress })
        onProgress()
        this.#deps.metrics?.sent(slice.byteLength)
      }
    } finally {
      const refusals = this.#midway.get(stream) ?? []
      this.#midway.delete(stream)
      for (const refusal of refusals) this.#refuse(stream, refusal)
    }
    // All of it is handed over, and it counts as an upload until it has left.
    this.#free(active)
    this.#pump()
    await stream.flushed({ onProgress })
    const { buffers } = this.#deps
    // A stream that ends first leaves the memory to the garbage collector.
    stream.released().then(
      () => buffers.give(bytes),
      () => undefined
    )
  }

  async #read(reader: BlobReader, piece: number): Promise<Uint8Array | undefined> {
    const { layout } = reader
    return piece < layout.pieces ? await reader.piece(piece, this.#deps.buffers.take(pieceLength(layout, piece))) : undefined
  }

  /** Waits for this host's own limit. @throws why the stream ended in the meantime */
  async #mayPass(active: Active, bytes: number): Promise<void> {
    const { throttle } = this.#deps
    const { stream } = active.request
    const ended = this.#streams.get(stream)?.signal
    if (ended === undefined || throttle === undefined || throttle.tryTake(bytes)) return
    active.held = true
    try {
      await throttle.take(bytes, { key: stream.peer, signal: ended })
    } finally {
      active.held = false
      active.progressAt = this.#deps.clock.now()
    }
  }

  #free(active: Active): void {
    const { stream } = active.request
    if (this.#busy.get(stream) === active) this.#busy.delete(stream)
  }

  #refuse(stream: FramedStream, refusal: Refusal): void {
    const later = this.#midway.get(stream)
    if (later !== undefined) {
      later.push(refusal)
      return
    }
    const reply: GetReply = { t: 'no', ...refusal, load: this.load }
    stream.send(reply)
  }

  #dropWaiting(drop: (request: Waiting) => boolean): Waiting[] {
    const dropped = this.#waiting.filter(drop)
    for (const request of dropped) this.#waiting.splice(this.#waiting.indexOf(request), 1)
    return dropped
  }
}
