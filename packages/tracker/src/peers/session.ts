import { type Lease, signLease } from '@layerswarm/core/claims.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import type { Identity } from '@layerswarm/core/p2p/identity.ts'
import type { TrackerMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import type { PlannerMessage, UnsignedLease } from '../planner/messages.ts'

/** Messages that may wait for signatures: a host that gets this far behind reconnects and says everything again. */
const MAX_QUEUED = 1024

/** What goes to one agent, in order, with the tracker's signature on every lease. */
export class Session {
  readonly stream: FramedStream
  readonly #identity: Identity
  readonly #queue: PlannerMessage[] = []
  #sending = false

  constructor(stream: FramedStream, identity: Identity) {
    this.stream = stream
    this.#identity = identity
  }

  post(message: PlannerMessage): void {
    if (this.#queue.length >= MAX_QUEUED) {
      this.stream.abort(new LayerswarmError('PEER_UNREACHABLE', { detail: 'the agent does not keep up' }))
      return
    }
    this.#queue.push(message)
    if (!this.#sending) void this.#send()
  }

  async #send(): Promise<void> {
    this.#sending = true
    try {
      for (let next = this.#queue.shift(); next !== undefined && this.stream.open; next = this.#queue.shift()) {
        this.stream.send(hasLeases(next) ? await this.#signed(next) : next)
      }
    } catch (cause) {
      this.stream.abort(new LayerswarmError('IDENTITY_INVALID', { detail: 'cannot sign', cause }))
    } finally {
      this.#sending = false
    }
  }

  async #signed(message: PlannerMessage): Promise<TrackerMessage> {
    if (message.t === 'leases') return { ...message, grant: await this.#sign(message.grant) }
    if (message.t !== 'plan') return message
    return { ...message, blobs: await Promise.all(message.blobs.map(async (blob) => ({ ...blob, leases: await this.#sign(blob.leases) }))) }
  }

  async #sign(leases: readonly UnsignedLease[]): Promise<Lease[]> {
    return await Promise.all(leases.map((lease) => signLease(this.#identity.key, { ...lease, by: this.#identity.id })))
  }
}

function hasLeases(message: PlannerMessage): boolean {
  if (message.t === 'leases') return message.grant.length > 0
  return message.t === 'plan' && message.blobs.some(({ leases }) => leases.length > 0)
}
