import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import type { Throttle } from '@layerswarm/core/rate-limiter.ts'
import { decodeMessage } from '@layerswarm/core/wire/frames.ts'
import { type GetReply, getReply, MAX_QUEUED_REQUESTS } from '@layerswarm/core/wire/peer-protocol.ts'
import type { Abortable, Faring, FetchOptions } from '../ports.ts'
import { Intake } from './intake.ts'
import type { PieceBuffers } from './piece-buffers.ts'

export interface PieceRequest extends Pick<FetchOptions, 'pull' | 'onProgress'> {
  readonly blob: Digest
  readonly piece: number
  /** Bytes of the piece, by the blob's layout. */
  readonly length: number
  /** How this host has fared so far: its request is served by that. */
  readonly faring: Faring
}

interface Pending extends PieceRequest {
  readonly id: number
  readonly done: PromiseWithResolvers<Uint8Array>
  sent: boolean
  /** All of it is here, and waits for the limit to let it pass. */
  received: boolean
  /** It was taken back, in case its answer had not begun. */
  withdrawn: boolean
}

/** The answer that is arriving. */
interface Arriving {
  readonly request: Pending
  readonly bytes: Uint8Array
  filled: number
}

export interface GetClientDeps {
  readonly open: (options: Abortable) => Promise<FramedStream>
  readonly buffers: PieceBuffers
  /** What may be taken from peers. */
  readonly throttle?: Throttle | undefined
  readonly onLoad: (blob: Digest, load: number) => void
  /** Told when the neighbour breaks the protocol; its stream is gone then. */
  readonly onViolation: (error: LayerswarmError) => void
}

/** Fetches pieces from one neighbour over one long-lived stream, opened when first needed and again after a reset. */
export class GetClient {
  readonly #deps: GetClientDeps
  readonly #pending = new Map<number, Pending>()
  /** Cancelled, and not answered yet. */
  readonly #cancelled = new Set<number>()
  #stream: FramedStream | undefined
  #opening = false
  #arriving: Arriving | undefined
  #nextId = 0
  readonly #ended = new AbortController()

  constructor(deps: GetClientDeps) {
    this.#deps = deps
  }

  /**
   * One piece, unverified, in a buffer that is the caller's to give back.
   * Aborting cancels a waiting request; one whose answer arrives is ended by resetting the stream, and the others that
   * wait on it are sent again.
   * @throws {LayerswarmError} PEER_GONE, PEER_UNREACHABLE, PEER_VERSION, PEER_PROTOCOL; the signal's reason
   */
  async piece(request: PieceRequest, { signal }: Abortable = {}): Promise<Uint8Array> {
    signal?.throwIfAborted()
    const id = this.#nextId
    this.#nextId = (id + 1) >>> 0
    const pending: Pending = { ...request, id, done: Promise.withResolvers(), sent: false, received: false, withdrawn: false }
    const onAbort = () => this.#abandon(pending, signal?.reason)
    signal?.addEventListener('abort', onAbort)
    this.#pending.set(id, pending)
    this.#pump()
    try {
      return await pending.done.promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Takes back a request for a piece that waits: it fails with STALLED. One whose answer has begun is answered. */
  withdraw(blob: Digest, piece: number): void {
    for (const request of this.#pending.values()) {
      if (request.blob !== blob || request.piece !== piece || request.withdrawn) continue
      if (request.received || this.#arriving?.request === request) continue
      request.withdrawn = true
      if (request.sent) this.#stream?.send({ t: 'cancel', id: request.id })
      else this.#endWithdrawn(request)
      return
    }
  }

  /** The neighbour is gone: everything that waits fails with `error`. */
  close(error: LayerswarmError): void {
    this.#ended.abort(error)
    this.#stream?.abort(error)
    this.#failAll(error)
  }

  #pump(): void {
    const stream = this.#stream
    if (stream === undefined) {
      this.#connect()
      return
    }
    // What is cancelled holds its place in the other end's queue until it is answered.
    let places = MAX_QUEUED_REQUESTS - this.#cancelled.size
    for (const pending of this.#pending.values()) {
      if (--places < 0) return
      if (pending.sent) continue
      pending.sent = true
      const { id, blob, piece, faring } = pending
      stream.send({ t: 'get', id, blob, piece, ...faring })
    }
  }

  #connect(): void {
    if (this.#opening || this.#pending.size === 0) return
    this.#opening = true
    this.#deps
      .open({ signal: this.#ended.signal })
      .then((stream) => this.#onOpen(stream))
      .catch((error: unknown) => this.#failAll(error))
      .finally(() => {
        this.#opening = false
        // Requests may have come in between the failure and now.
        if (this.#stream === undefined) this.#connect()
      })
  }

  #onOpen(stream: FramedStream): void {
    if (this.#ended.signal.aborted) {
      stream.abort(this.#ended.signal.reason)
      return
    }
    this.#stream = stream
    const { throttle } = this.#deps
    const intake = throttle && new Intake({ throttle, stream, signal: this.#ended.signal })
    stream.start({
      onMessage: (body) => this.#onReply(stream, decodeMessage(getReply, body)),
      onPayload: (chunk) => this.#onPayload(intake, chunk),
      onClose: (error) => {
        // A stream that was reset here has been replaced already.
        if (this.#stream !== stream) return
        this.#forgetStream()
        this.#failAll(error ?? new LayerswarmError('PEER_UNREACHABLE', { detail: 'the peer ended the stream' }))
        if (error?.code === 'PEER_PROTOCOL') this.#deps.onViolation(error)
      }
    })
    this.#pump()
  }

  #onReply(stream: FramedStream, reply: GetReply): void {
    const request = this.#pending.get(reply.id)
    if (request === undefined || !request.sent || request.received) {
      this.#onLateReply(reply)
      return
    }
    this.#deps.onLoad(request.blob, reply.load)
    if (reply.t === 'no') {
      if (reply.reason === 'cancelled') {
        if (!request.withdrawn) throw new LayerswarmError('PEER_PROTOCOL', { detail: 'a request was dropped that was not cancelled' })
        this.#endWithdrawn(request)
        return
      }
      this.#settle(request).done.reject(new LayerswarmError('PEER_GONE', { detail: `piece ${request.piece}: ${reply.reason}` }))
      return
    }
    if (reply.length !== request.length)
      throw new LayerswarmError('PEER_PROTOCOL', { detail: `${reply.length} bytes for a piece of ${request.length}` })
    this.#arriving = { request, bytes: this.#deps.buffers.take(reply.length), filled: 0 }
    stream.expectPayload(reply.length)
  }

  /** The answer to a request that was cancelled: a refusal, or its bytes where the cancellation came too late. */
  #onLateReply(reply: GetReply): void {
    if (!this.#cancelled.delete(reply.id)) throw new LayerswarmError('PEER_PROTOCOL', { detail: 'an answer that nobody asked for' })
    if (reply.t === 'data') this.#reset()
    else this.#pump()
  }

  #onPayload(intake: Intake | undefined, chunk: Uint8Array): void {
    const arriving = this.#arriving
    if (arriving === undefined) return
    const { request, bytes } = arriving
    bytes.set(chunk, arriving.filled)
    arriving.filled += chunk.byteLength
    request.received = arriving.filled === bytes.byteLength
    if (request.received) this.#arriving = undefined
    if (intake !== undefined) {
      intake.take({
        bytes: chunk.byteLength,
        key: request.pull ?? request.blob,
        onPassed: (passed) => request.onProgress?.(passed),
        onDone: request.received ? () => this.#deliver(request, bytes) : undefined
      })
      return
    }
    request.onProgress?.(chunk.byteLength)
    if (request.received) this.#deliver(request, bytes)
  }

  #deliver(request: Pending, bytes: Uint8Array): void {
    // It may have been given up while it waited for the limit.
    if (this.#pending.has(request.id)) this.#settle(request).done.resolve(bytes)
    else this.#deps.buffers.give(bytes)
  }

  #abandon(request: Pending, reason: unknown): void {
    if (!this.#pending.has(request.id)) return
    this.#settle(request).done.reject(reason)
    if (this.#arriving?.request === request) this.#reset()
    else if (request.sent && !request.received) {
      this.#cancelled.add(request.id)
      if (!request.withdrawn) this.#stream?.send({ t: 'cancel', id: request.id })
    }
  }

  /** Ends the stream in the middle of an answer that is not wanted, and sends what else waits on a new one. */
  #reset(): void {
    const stream = this.#stream
    this.#forgetStream()
    for (const pending of this.#pending.values()) pending.sent = pending.received
    stream?.abort(new LayerswarmError('PEER_GONE', { detail: 'no longer wanted', blame: 'local' }))
    for (const pending of [...this.#pending.values()]) if (pending.withdrawn && !pending.received) this.#endWithdrawn(pending)
    this.#pump()
  }

  #forgetStream(): void {
    this.#stream = undefined
    this.#cancelled.clear()
    if (this.#arriving !== undefined) this.#deps.buffers.give(this.#arriving.bytes)
    this.#arriving = undefined
  }

  #endWithdrawn(request: Pending): void {
    this.#settle(request).done.reject(new LayerswarmError('STALLED', { detail: 'withdrawn', blame: 'local' }))
  }

  /** Takes the request off the list, which makes room for the next. */
  #settle(request: Pending): Pending {
    this.#pending.delete(request.id)
    if (this.#pending.size >= MAX_QUEUED_REQUESTS) this.#pump()
    return request
  }

  #failAll(error: unknown): void {
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const { done } of pending) done.reject(error)
  }
}
