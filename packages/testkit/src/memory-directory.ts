import type { Abortable, DirectoryEvent, DirectoryNote, PeerDirectory, Plan, PlanRequest } from '@layerswarm/agent/ports.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Holding } from '@layerswarm/core/wire/directory-protocol.ts'
import { Feed } from './feed.ts'

/** A tracker seen through its client: it answers what the test wants, and keeps what it was told. */
export class MemoryDirectory implements PeerDirectory {
  connected: boolean
  readonly trusted = new Set<string>()
  readonly requests: PlanRequest[] = []
  readonly notes: DirectoryNote[] = []
  readonly announced: { readonly add: readonly Holding[]; readonly drop: readonly Digest[] }[] = []
  readonly #events = new Feed<DirectoryEvent>()
  /** How a plan is answered; by default the tracker knows nothing and leases nothing. */
  answer: (request: PlanRequest) => Plan | Promise<Plan> = ({ blobs }) => ({
    blobs: blobs.map(({ digest }) => ({ digest, known: false, complete: 0, leases: [] })),
    peers: []
  })

  constructor(options: { connected?: boolean } = {}) {
    this.connected = options.connected ?? true
  }

  async plan(want: PlanRequest, { signal }: Abortable = {}): Promise<Plan> {
    signal?.throwIfAborted()
    if (!this.connected) throw new LayerswarmError('TRACKER_UNREACHABLE')
    this.requests.push(want)
    return await this.answer(want)
  }

  announce(changes: { readonly add: readonly Holding[]; readonly drop: readonly Digest[] }): void {
    this.announced.push(changes)
  }

  tell(note: DirectoryNote): void {
    this.notes.push(note)
  }

  /** What it was told, of one kind. */
  told<T extends DirectoryNote['t']>(t: T): Extract<DirectoryNote, { t: T }>[] {
    return this.notes.filter((note): note is Extract<DirectoryNote, { t: T }> => note.t === t)
  }

  /** Says something of its own accord. */
  say(event: DirectoryEvent): void {
    if (event.type === 'up' || event.type === 'down') this.connected = event.type === 'up'
    this.#events.publish(event)
  }

  events(options: Abortable = {}): AsyncIterable<DirectoryEvent> {
    return this.#events.listen(options)
  }
}
