import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import type { AgentMessage, Holding } from '@layerswarm/core/wire/directory-protocol.ts'
import { MAX_LISTED_BLOBS, MAX_LISTED_PIECES } from '@layerswarm/core/wire/fields.ts'

/** Messages that may wait: beyond that the tracker is not keeping up, and a new stream says everything more briefly. */
const MAX_WAITING = 4096

type Report = Extract<AgentMessage, { t: 'report' }>
type Hold = Extract<AgentMessage, { t: 'hold' }>

/**
 * What goes to the tracker, in order, as fast as it reads. What waits is merged: a blob's reports into one, holdings into
 * one list, a seed's states into the last.
 */
export class Outbox {
  readonly #stream: FramedStream
  readonly #waiting = new Map<string, AgentMessage>()
  #serial = 0
  #sending = false

  constructor(stream: FramedStream) {
    this.#stream = stream
  }

  push(message: AgentMessage): void {
    if (this.#waiting.size >= MAX_WAITING) {
      this.#stream.abort(new LayerswarmError('TRACKER_UNREACHABLE', { detail: 'it does not keep up' }))
      return
    }
    if (message.t === 'report') this.#pushReport(message)
    else if (message.t === 'hold') this.#pushHold(message)
    else if (message.t === 'peers') this.#waiting.set(`peers ${message.blob}`, message)
    else if (message.t === 'seeding') this.#waiting.set(`seeding ${message.id}`, message)
    else this.#put(message)
    if (!this.#sending) void this.#send()
  }

  /** Resolves when everything pushed so far has left this process, or never will. */
  async flushed(signal: AbortSignal): Promise<void> {
    while (this.#waiting.size > 0 && this.#stream.open && !signal.aborted) await this.#stream.drained({ signal }).catch(() => undefined)
  }

  #put(message: AgentMessage): void {
    this.#waiting.set(`${this.#serial++}`, message)
  }

  #pushReport(report: Report): void {
    const key = `report ${report.blob}`
    const before = this.#waiting.get(key)
    if (before?.t !== 'report') {
      this.#waiting.set(key, report)
      return
    }
    const got = [...before.got, ...report.got]
    const spread = [...before.spread, ...report.spread]
    if (got.length > MAX_LISTED_PIECES || spread.length > MAX_LISTED_PIECES) {
      this.#put(report)
      return
    }
    const whole = before.whole === true || report.whole === true
    this.#waiting.set(key, { t: 'report', blob: report.blob, got, spread, bytes: before.bytes + report.bytes, ...(whole ? { whole } : {}) })
  }

  /** The last word on a digest counts, whichever list it is in. */
  #pushHold(hold: Hold): void {
    const before = this.#waiting.get('hold')
    if (hold.full || before?.t !== 'hold' || before.full) {
      this.#settle('hold')
      this.#waiting.set('hold', hold)
      return
    }
    const add = new Map<Digest, Holding>(before.add.map((holding) => [holding.digest, holding]))
    const drop = new Set(before.drop)
    for (const digest of hold.drop) {
      add.delete(digest)
      drop.add(digest)
    }
    for (const holding of hold.add) {
      drop.delete(holding.digest)
      add.set(holding.digest, holding)
    }
    if (add.size > MAX_LISTED_BLOBS || drop.size > MAX_LISTED_BLOBS) {
      this.#settle('hold')
      this.#waiting.set('hold', hold)
    } else this.#waiting.set('hold', { t: 'hold', full: false, add: [...add.values()], drop: [...drop] })
  }

  /** What waits under `key` gets no more additions. */
  #settle(key: string): void {
    const message = this.#waiting.get(key)
    if (message === undefined) return
    this.#waiting.delete(key)
    this.#put(message)
  }

  async #send(): Promise<void> {
    this.#sending = true
    try {
      for (let [next] = this.#waiting; next !== undefined && this.#stream.open; [next] = this.#waiting) {
        const [key, message] = next
        this.#waiting.delete(key)
        if (!this.#stream.send(message)) await this.#stream.drained()
      }
    } catch {
      // The stream has ended; its owner hears of that from the stream.
    } finally {
      this.#sending = false
    }
  }
}
