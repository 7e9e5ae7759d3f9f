import type { Stream, StreamMessageEvent } from '@libp2p/interface'
import { LayerswarmError } from '../errors.ts'
import { encodeFrame, FrameReader } from '../wire/frames.ts'
import type { Outflow } from './outflow.ts'

/** Unsent bytes up to which a sender of payload goes on: enough to keep the socket busy while the next chunk is read. */
export const SEND_AHEAD = 1024 * 1024
/** Unsent bytes at which a receiver that does not read is given up. Four of the largest messages. */
const DEFAULT_MAX_UNSENT = 16 * 1024 * 1024
/** How long a stream may take to send what is left when it is closed, ms. */
const CLOSE_MS = 2000

export interface FramedStreamOptions {
  /** The peer id at the other end. */
  readonly peer: string
  readonly protocol: string
  /** Largest control message accepted, bytes. */
  readonly maxMessage: number
  /** Unsent bytes at which the stream is aborted. */
  readonly maxUnsent?: number
  /** Resolves once the connection reads no memory of what it was given so far. */
  readonly released?: () => Promise<void>
  /** What has become of what the connection was given, where that can be told. */
  readonly outflow?: () => Outflow | undefined
}

export interface FramedHandlers {
  /** One control message, still encoded. What it throws aborts the stream. */
  onMessage(body: Uint8Array): void
  /** Payload announced by {@link FramedStream.expectPayload}, as it comes; the bytes are valid during the call. */
  onPayload?(chunk: Uint8Array): void
  /** Once, last: without an error when both ends closed it in order. */
  onClose(error: LayerswarmError | undefined): void
}

/**
 * Control messages and raw payload over one libp2p stream, with back-pressure that holds in both directions.
 * Nothing that the other end sends can make it throw into the event loop: the stream ends, with PEER_PROTOCOL.
 */
export class FramedStream {
  readonly peer: string
  readonly protocol: string
  readonly #stream: Stream
  readonly #maxUnsent: number
  readonly #released: (() => Promise<void>) | undefined
  readonly #outflow: (() => Outflow | undefined) | undefined
  readonly #reader: FrameReader
  #handlers: FramedHandlers | undefined
  #paused = false
  #ended = false
  #error: LayerswarmError | undefined

  constructor(stream: Stream, options: FramedStreamOptions) {
    this.peer = options.peer
    this.protocol = options.protocol
    this.#stream = stream
    this.#maxUnsent = options.maxUnsent ?? DEFAULT_MAX_UNSENT
    this.#released = options.released
    this.#outflow = options.outflow
    this.#reader = new FrameReader({
      maxBytes: options.maxMessage,
      // A handler may end the stream; what the same chunk brought after that is nobody's.
      onMessage: (body) => this.#ended || this.#handlers?.onMessage(body),
      onPayload: (chunk) => this.#ended || this.#handlers?.onPayload?.(chunk)
    })
    stream.addEventListener('close', (event) => this.#onClosed(event.error))
  }

  /** Begins to read; nothing is lost before. To be called once. */
  start(handlers: FramedHandlers): void {
    this.#handlers = handlers
    if (this.#ended) {
      queueMicrotask(() => handlers.onClose(this.#error))
      return
    }
    this.#stream.addEventListener('message', (event) => this.#onData(event))
    // The other end says no more and all it said was read: a one-sided stream has no use here.
    this.#stream.addEventListener('end', () => void this.close())
    if (this.#stream.readableEnded) void this.close()
  }

  /** False once the stream has ended; what is sent then is dropped. */
  get open(): boolean {
    return !this.#ended && this.#stream.writeStatus === 'writable'
  }

  /** Bytes sent here that the connection has not taken yet. */
  get unsent(): number {
    return this.#stream.writeBufferLength
  }

  /** What has become of what its connection was given, by all of its streams; undefined where that cannot be told. */
  get outflow(): Outflow | undefined {
    return this.#outflow?.()
  }

  /** Sends control messages, all at once. @returns whether there is room for more; see {@link drained}. */
  send(...messages: object[]): boolean {
    const frames = messages.map(encodeFrame)
    const [only] = frames
    return this.sendRaw(only !== undefined && frames.length === 1 ? only : Buffer.concat(frames))
  }

  /** Sends payload as it is. `bytes` must not change afterwards: it is kept until it is on its way. */
  sendRaw(bytes: Uint8Array): boolean {
    if (!this.open || bytes.byteLength === 0) return this.open
    try {
      this.#stream.send(bytes)
    } catch (cause) {
      this.abort(new LayerswarmError('PEER_UNREACHABLE', { detail: 'cannot send', cause }))
      return false
    }
    if (this.unsent > this.#maxUnsent) this.abort(new LayerswarmError('PEER_UNREACHABLE', { detail: 'the peer does not read' }))
    return this.unsent < SEND_AHEAD
  }

  /**
   * Waits until fewer than `below` bytes (default {@link SEND_AHEAD}) are unsent.
   * @param options.onProgress called whenever some bytes have left in the meantime
   * @throws {LayerswarmError} PEER_UNREACHABLE when the stream ends first; the signal's reason when that fires
   */
  async drained(options: { readonly below?: number; readonly signal?: AbortSignal; readonly onProgress?: () => void } = {}): Promise<void> {
    const { below = SEND_AHEAD, signal, onProgress } = options
    signal?.throwIfAborted()
    // One drain event is no permission: it also comes when the socket has room although the receiver's window has none.
    for (let left = this.unsent; left >= below && this.open; ) {
      await this.#nextDrain(signal)
      if (this.unsent < left) onProgress?.()
      left = this.unsent
    }
    this.#throwIfEnded()
  }

  #throwIfEnded(): void {
    if (!this.open) throw this.#error ?? new LayerswarmError('PEER_UNREACHABLE', { detail: 'the stream has ended' })
  }

  /**
   * Waits until everything sent here was taken over by the operating system. `options` and errors as {@link drained}.
   */
  async flushed(options: { readonly signal?: AbortSignal; readonly onProgress?: () => void } = {}): Promise<void> {
    await this.drained({ ...options, below: 1 })
    while (this.#stream.writableNeedsDrain && this.open) await this.#nextDrain(options.signal)
    this.#throwIfEnded()
  }

  /**
   * Waits until the memory of everything sent here is free for other use. Never resolves where that cannot be told, or
   * the connection breaks first: that memory is left to the garbage collector.
   * @throws as {@link drained}
   */
  async released(): Promise<void> {
    await this.drained({ below: 1 })
    await (this.#released?.() ?? new Promise<never>(() => undefined))
  }

  /** libp2p's own `onDrain` resolves at once after the first time. */
  async #nextDrain(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onDrain = () => resolve()
    const onAbort = () => reject(signal?.reason)
    this.#stream.addEventListener('drain', onDrain)
    this.#stream.addEventListener('close', onDrain)
    signal?.addEventListener('abort', onAbort)
    try {
      await promise
    } finally {
      this.#stream.removeEventListener('drain', onDrain)
      this.#stream.removeEventListener('close', onDrain)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** To be called from `onMessage`: the next `bytes` bytes are payload. */
  expectPayload(bytes: number): void {
    this.#reader.expectPayload(bytes)
  }

  /** Stops reading soon; what has arrived may still be delivered. The other end stops once its window is used up. */
  pause(): void {
    this.#paused = true
    // Never from inside the delivery of a message: a resume in progress would open the window over it.
    queueMicrotask(() => {
      if (this.#paused && !this.#ended && this.#stream.readStatus === 'readable') this.#stream.pause()
    })
  }

  resume(): void {
    this.#paused = false
    queueMicrotask(() => {
      if (!this.#paused && !this.#ended && this.#stream.readStatus === 'paused') this.#stream.resume()
    })
  }

  /** Sends what is left, within two seconds, and ends the stream. */
  async close(): Promise<void> {
    if (this.#ended) return
    try {
      await this.#stream.close({ signal: AbortSignal.timeout(CLOSE_MS) })
      // Its other half may stay open while the peer is slow to answer; nothing more is expected from it.
      if (this.#stream.status === 'open') await this.#stream.closeRead({ signal: AbortSignal.timeout(CLOSE_MS) })
    } catch (cause) {
      this.abort(new LayerswarmError('PEER_UNREACHABLE', { detail: 'the stream did not close in time', cause }))
      return
    }
    this.#onClosed(undefined)
  }

  /** Ends the stream at once, in both directions, without sending what is left. `onClose` gets the error. */
  abort(error: LayerswarmError): void {
    if (this.#ended) return
    this.#error = error
    this.#stream.abort(error)
    this.#onClosed(error)
  }

  #onData(event: StreamMessageEvent): void {
    try {
      if (event.data instanceof Uint8Array) this.#reader.push(event.data)
      else for (const chunk of event.data) this.#reader.push(chunk)
    } catch (error) {
      this.abort(error instanceof LayerswarmError ? error : new LayerswarmError('PEER_PROTOCOL', { cause: error }))
    }
  }

  #onClosed(cause: Error | undefined): void {
    if (this.#ended) return
    this.#ended = true
    if (cause !== undefined)
      this.#error ??= cause instanceof LayerswarmError ? cause : new LayerswarmError('PEER_UNREACHABLE', { detail: cause.message, cause })
    try {
      this.#handlers?.onClose(this.#error)
    } catch (error) {
      this.#stream.log.error('a close handler failed - %e', error)
    }
  }
}
