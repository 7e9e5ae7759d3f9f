import type { Abortable, PeerEvent, PeerNetwork, PieceSource } from '../ports.ts'

/** A host without peers: commands that do their work without a daemon. */
export class SoloNetwork implements PeerNetwork {
  readonly id: string

  constructor(id: string) {
    this.id = id
  }

  async connect(): Promise<void> {}

  connected(): readonly string[] {
    return []
  }

  source(): PieceSource {
    throw new Error('there is nobody to ask')
  }

  ban(): void {}

  async *events({ signal }: Abortable = {}): AsyncIterable<PeerEvent> {
    const { promise, reject } = Promise.withResolvers<never>()
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
    await promise
  }
}
