import { type PieceLayout, type PieceRun, pieceLength } from '@layerswarm/core/piece-layout.ts'
import type { EventQueue } from './event-queue.ts'
import { Link } from './link.ts'

/** Pieces of one transfer that may be past the registry's link and not past the reader's: what sockets buffer. */
const WINDOW = 4

interface Stream {
  readonly layout: PieceLayout
  readonly run: PieceRun
  readonly downlink: Link
  readonly onPiece: (piece: number) => void
  readonly onEnd: () => void
  /** Its part of the link beside those of others. */
  readonly share: number
  /** Pieces sent over its share, and what a stream that begins later starts from: who has least is next. */
  turn: number
  next: number
  /** When its connection takes the next piece. */
  readyAt: number
  underway: number
  stopped: boolean
}

/** The registry: ranged transfers that share its uplink piece by piece, alike or by their shares. */
export class SimRegistry {
  readonly #queue: EventQueue
  readonly #uplink: Link
  readonly #firstByte: number
  readonly #streams = new Set<Stream>()
  #busy = false
  #turn = 0
  /** Bytes sent, those of transfers that were stopped included. */
  sent = 0
  readonly ranged: boolean
  /** Bytes a millisecond of one connection. */
  readonly #perConnection: number

  constructor(queue: EventQueue, options: { rate: number; firstByte: number; ranged: boolean; perConnection: number }) {
    this.#queue = queue
    this.#uplink = new Link(options.rate)
    this.#firstByte = options.firstByte
    this.ranged = options.ranged
    this.#perConnection = options.perConnection / 1000
  }

  /** @returns how to stop it */
  fetch(layout: PieceLayout, run: PieceRun, downlink: Link, onPiece: (piece: number) => void, onEnd: () => void, share = 1): () => void {
    const whole = this.ranged ? run : { first: 0, count: layout.pieces }
    const stream: Stream = {
      layout,
      run: whole,
      downlink,
      onPiece,
      onEnd,
      share,
      turn: 0,
      next: whole.first,
      readyAt: 0,
      underway: 0,
      stopped: false
    }
    this.#queue.after(this.#firstByte, () => {
      if (stream.stopped) return
      stream.turn = this.#turn
      this.#streams.add(stream)
      this.#send()
    })
    return () => {
      stream.stopped = true
      this.#streams.delete(stream)
    }
  }

  #send(): void {
    if (this.#busy) return
    let next: Stream | undefined
    for (const stream of this.#streams) {
      if (stream.underway >= WINDOW || stream.readyAt > this.#queue.now) continue
      if (next === undefined || stream.turn < next.turn) next = stream
    }
    if (next === undefined) return
    // Round robin among equals: who was served goes to the end.
    this.#streams.delete(next)
    this.#turn = next.turn
    next.turn += 1 / next.share
    const piece = next.next++
    if (next.next < next.run.first + next.run.count) this.#streams.add(next)
    this.#sendPiece(next, piece)
  }

  #sendPiece(stream: Stream, piece: number): void {
    this.#busy = true
    stream.underway++
    const bytes = pieceLength(stream.layout, piece)
    this.sent += bytes
    if (Number.isFinite(this.#perConnection)) {
      stream.readyAt = Math.max(stream.readyAt, this.#queue.now) + bytes / this.#perConnection
      this.#queue.at(stream.readyAt, () => this.#send())
    }
    const through = this.#uplink.pass(this.#queue.now, bytes)
    this.#queue.at(through, () => {
      this.#busy = false
      this.#queue.at(stream.downlink.passThrough(through, bytes), () => {
        stream.underway--
        if (!stream.stopped) {
          stream.onPiece(piece)
          if (piece === stream.run.first + stream.run.count - 1) stream.onEnd()
        }
        this.#send()
      })
      this.#send()
    })
  }
}
