import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import { type AgentMessage, type TrackerMessage, trackerMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import { decodeMessage } from '@layerswarm/core/wire/frames.ts'
import type { Plan } from '../ports.ts'
import { Outbox } from './outbox.ts'

type PlanMessage = Extract<AgentMessage, { t: 'plan' }>

/** One stream to a tracker: messages out in order, plans matched with their requests. */
export class TrackerSession {
  readonly peer: string
  /** Settles with the error that ended the stream, if one did. */
  readonly closed: Promise<LayerswarmError | undefined>
  /** Settles when the tracker has answered hello, or the stream has ended. */
  readonly welcomed: Promise<void>
  readonly outbox: Outbox
  readonly #stream: FramedStream
  readonly #plans = new Map<number, PromiseWithResolvers<Plan>>()
  #nextPlan = 1

  /** @param onMessage what answers no request; a plan that comes too late included */
  constructor(stream: FramedStream, onMessage: (message: TrackerMessage) => void) {
    this.#stream = stream
    this.peer = stream.peer
    this.outbox = new Outbox(stream)
    const closed = Promise.withResolvers<LayerswarmError | undefined>()
    const welcomed = Promise.withResolvers<void>()
    this.closed = closed.promise
    this.welcomed = welcomed.promise
    stream.start({
      onMessage: (body) => {
        const message = decodeMessage(trackerMessage, body)
        if (message.t === 'welcome') welcomed.resolve()
        if (message.t === 'plan' && this.#answer(message)) return
        onMessage(message)
      },
      onClose: (error) => {
        for (const plan of this.#plans.values()) plan.reject(new LayerswarmError('TRACKER_UNREACHABLE', { detail: 'the connection ended' }))
        this.#plans.clear()
        welcomed.resolve()
        closed.resolve(error)
      }
    })
  }

  get open(): boolean {
    return this.#stream.open
  }

  /** @throws {LayerswarmError} TRACKER_UNREACHABLE when the stream ends first; the signal's reason: the plan is then late */
  async plan(request: Omit<PlanMessage, 't' | 'id'>, signal: AbortSignal): Promise<Plan> {
    signal.throwIfAborted()
    if (!this.open) throw new LayerswarmError('TRACKER_UNREACHABLE')
    const id = this.#nextPlan++
    const answer = Promise.withResolvers<Plan>()
    const onAbort = () => answer.reject(signal.reason)
    this.#plans.set(id, answer)
    signal.addEventListener('abort', onAbort)
    this.outbox.push({ t: 'plan', id, ...request })
    try {
      return await answer.promise
    } finally {
      this.#plans.delete(id)
      signal.removeEventListener('abort', onAbort)
    }
  }

  abort(error: LayerswarmError): void {
    this.#stream.abort(error)
  }

  async close(): Promise<void> {
    await this.#stream.close()
  }

  #answer(message: Extract<TrackerMessage, { t: 'plan' }>): boolean {
    const waiting = this.#plans.get(message.id)
    waiting?.resolve({ blobs: message.blobs, peers: message.peers })
    return waiting !== undefined
  }
}
