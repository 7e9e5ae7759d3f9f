import { type Digest, PIECE_HASH_BYTES } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import { type PieceLayout, runCount } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import { decodeMessage } from '@layerswarm/core/wire/frames.ts'
import { type ObserveUpdate, observeUpdate } from '@layerswarm/core/wire/peer-protocol.ts'
import type { Abortable, Availability } from '../ports.ts'
import { Mailbox } from './mailbox.ts'

/** Claims passed on per run and watch: one a piece, from a holder and from several that took over. More are dropped. */
const CLAIMS_PER_RUN = 64

interface Watch {
  readonly layout: PieceLayout
  readonly wantMap: boolean
  readonly mailbox: Mailbox
  claimsLeft: number
}

/** What one neighbour holds, as it says over the one observe stream to it that all blobs share. */
export class ObserveClient {
  readonly #open: () => Promise<FramedStream>
  readonly #onViolation: (error: LayerswarmError) => void
  #stream: Promise<FramedStream> | undefined
  readonly #watches = new Map<Digest, Set<Watch>>()

  /** @param onViolation told when the neighbour breaks the protocol; its streams are gone then */
  constructor(open: () => Promise<FramedStream>, onViolation: (error: LayerswarmError) => void) {
    this.#open = open
    this.#onViolation = onViolation
  }

  /** Opens the stream if there is none. @throws {LayerswarmError} PEER_UNREACHABLE, PEER_VERSION */
  async ready(options: Abortable = {}): Promise<void> {
    await this.#ready(options)
  }

  /**
   * What the neighbour holds of a blob: all of it first, then what it gets. Ends only with an error, or with the taker.
   * @throws {LayerswarmError} PEER_UNREACHABLE, PEER_VERSION, PEER_PROTOCOL; the signal's reason
   */
  async *watch(blob: Digest, layout: PieceLayout, wantMap: boolean, options: Abortable = {}): AsyncGenerator<Availability> {
    const watch = { layout, wantMap, mailbox: new Mailbox(layout.pieces), claimsLeft: runCount(layout) * CLAIMS_PER_RUN }
    options.signal?.throwIfAborted()
    const stream = await this.#ready(options)
    const others = this.#watches.get(blob) ?? new Set()
    this.#watches.set(blob, others.add(watch))
    try {
      stream.send({ t: 'watch', blob, size: layout.size, ...(wantMap ? { map: true } : {}) })
      if (!stream.open) throw new LayerswarmError('PEER_UNREACHABLE', { detail: 'the stream has ended' })
      yield* watch.mailbox.take(options)
    } finally {
      others.delete(watch)
      if (others.size === 0 && this.#watches.get(blob) === others) {
        this.#watches.delete(blob)
        if (stream.open) stream.send({ t: 'unwatch', blob })
      }
    }
  }

  /** The neighbour is gone: all that watch fail with `error`. */
  close(error: LayerswarmError): void {
    this.#stream?.then(
      (stream) => stream.abort(error),
      () => undefined
    )
    this.#onClose(error)
  }

  /** The neighbour's load, told with something else. */
  onLoad(blob: Digest, load: number): void {
    for (const { mailbox } of this.#watches.get(blob) ?? []) mailbox.load(load)
  }

  /** The stream is everybody's: who no longer waits for it does not end its opening, which is bounded in itself. */
  async #ready({ signal }: Abortable): Promise<FramedStream> {
    this.#stream ??= this.#connect()
    const opening = this.#stream
    const { promise: stopped, reject } = Promise.withResolvers<never>()
    const onAbort = () => reject(signal?.reason)
    signal?.addEventListener('abort', onAbort)
    try {
      return await Promise.race([opening, stopped])
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async #connect(): Promise<FramedStream> {
    const stream = await this.#open().catch((error: unknown) => {
      this.#stream = undefined
      throw error
    })
    stream.start({
      onMessage: (body) => this.#onUpdate(decodeMessage(observeUpdate, body)),
      onClose: (error) => this.#onClose(error ?? new LayerswarmError('PEER_UNREACHABLE', { detail: 'the peer ended the stream' }))
    })
    return stream
  }

  #onClose(error: LayerswarmError): void {
    this.#stream = undefined
    for (const watches of this.#watches.values()) for (const { mailbox } of watches) mailbox.fail(error)
    this.#watches.clear()
    if (error.code === 'PEER_PROTOCOL') this.#onViolation(error)
  }

  #onUpdate(update: ObserveUpdate): void {
    // Nobody asks for it any more: it was under way when the watch ended.
    for (const watch of this.#watches.get(update.blob) ?? []) apply(watch, update)
  }
}

/** @throws {LayerswarmError} PEER_PROTOCOL when the update cannot be true of the blob */
function apply(watch: Watch, update: ObserveUpdate): void {
  const { layout, mailbox } = watch
  switch (update.t) {
    case 'state': {
      if (update.size !== layout.size) throw wrong(`a blob of ${update.size} bytes instead of ${layout.size}`)
      mailbox.pieces(update.bits === undefined ? [] : piecesOf(layout, update.bits), update.load)
      return
    }
    case 'have':
      if (update.pieces.some((piece) => piece >= layout.pieces)) throw wrong('a piece beyond the blob')
      mailbox.pieces(update.pieces, update.load)
      return
    case 'claims':
      mailbox.claims(update.claims.slice(0, watch.claimsLeft))
      watch.claimsLeft = Math.max(0, watch.claimsLeft - update.claims.length)
      return
    case 'map':
      if (!watch.wantMap) return
      if (update.size !== layout.size || update.hashes.byteLength !== layout.pieces * PIECE_HASH_BYTES) throw wrong('a map of another size')
      mailbox.map(update.hashes)
      return
    case 'gone':
      mailbox.gone()
  }
}

function piecesOf(layout: PieceLayout, bits: Uint8Array): PieceSet {
  try {
    return PieceSet.decode(layout.pieces, bits)
  } catch (cause) {
    throw wrong('a bitfield of another length', cause)
  }
}

function wrong(detail: string, cause?: unknown): LayerswarmError {
  return new LayerswarmError('PEER_PROTOCOL', { detail, cause })
}
