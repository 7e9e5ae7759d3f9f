import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import type { Logger } from 'pino'
import type { BlobStore, DirectoryEvent, PeerDirectory, PeerNetwork } from '../ports.ts'
import type { SwarmEvent } from './messages.ts'
import type { Transfer } from './transfer.ts'

export interface FollowingDeps {
  readonly store: Pick<BlobStore, 'open'>
  readonly peers: Pick<PeerNetwork, 'connected' | 'events'>
  readonly directory: Pick<PeerDirectory, 'events' | 'tell'>
  readonly log: Logger
  readonly dispatch: (event: SwarmEvent) => void
  readonly running: (blob: Digest) => Transfer | undefined
}

/** Hears what peers and the tracker say unasked, until it is disposed of. */
export class Following implements AsyncDisposable {
  readonly #deps: FollowingDeps
  readonly #stop = new AbortController()
  readonly #loops: Promise<void>[]

  constructor(deps: FollowingDeps) {
    this.#deps = deps
    for (const peer of deps.peers.connected()) deps.dispatch({ type: 'up', peer })
    this.#loops = [this.#followPeers(), this.#followDirectory()].map((loop) =>
      loop.catch((error: unknown) => {
        if (!this.#stop.signal.aborted) deps.log.error({ error: describeError(error) }, 'the swarm lost an event stream')
      })
    )
  }

  async #followPeers(): Promise<void> {
    for await (const event of this.#deps.peers.events({ signal: this.#stop.signal })) {
      if (event.type !== 'watched') this.#deps.dispatch(event)
      else this.#deps.dispatch({ type: 'up', peer: event.peer, blob: event.blob })
    }
  }

  async #followDirectory(): Promise<void> {
    for await (const event of this.#deps.directory.events({ signal: this.#stop.signal })) this.#onDirectory(event)
  }

  #onDirectory(event: DirectoryEvent): void {
    const { dispatch, running, log } = this.#deps
    switch (event.type) {
      case 'up':
      case 'down':
        dispatch({ type: 'tracker', up: event.type === 'up' })
        break
      case 'leases': {
        const grant = event.grant.map(({ run }) => run)
        log.debug({ digest: event.blob, grant, revoke: event.revoke }, 'leases')
        dispatch(event)
        break
      }
      case 'peers':
        dispatch({ type: 'peers', peers: event.peers })
        if (event.gateway !== undefined) dispatch({ type: 'place', blob: event.blob, gateway: event.gateway })
        break
      case 'map':
        running(event.blob)?.setMap(event.map.hashes, event.map.proven)
        break
      case 'wantMap':
        void this.#sendMap(event.blob)
    }
  }

  async #sendMap(blob: Digest): Promise<void> {
    const { store, directory, log } = this.#deps
    try {
      await using reader = await store.open(blob)
      const hashes = await reader?.map()
      if (reader !== undefined && hashes !== undefined) directory.tell({ t: 'map', blob, size: reader.layout.size, hashes })
    } catch (error) {
      log.debug({ digest: blob, error: describeError(error) }, 'the piece map could not be read')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#loops)
  }
}
