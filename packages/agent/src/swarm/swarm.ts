import { type Claim, mapRoot, signClaim } from '@layerswarm/core/claims.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { type PieceLayout, runOf } from '@layerswarm/core/piece-layout.ts'
import type { PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import type { PrivateKey } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { BlobStore, ContentRef, DirectoryEvent, DirectoryNote, PeerDirectory, PeerNetwork, PieceSource, Plan } from '../ports.ts'
import type { SwarmCommand, SwarmEvent } from './messages.ts'
import { step } from './scheduler.ts'
import { createState, type SwarmState } from './state.ts'
import { Transfer } from './transfer.ts'

/** How often the scheduler looks at the clock while something is being fetched, ms. */
const TICK_MS = 50
/** Blobs remembered for having been vouched for falsely; more would be an attack on its own. */
const MAX_DISPUTED = 1024
/** For a disputed blob: nobody's word counts, only a map that several hosts have proven. */
const NO_TRUST = { trusted: new Set<string>(), connected: true, disputed: true }

export interface SwarmDeps {
  readonly store: Pick<BlobStore, 'begin' | 'open'>
  readonly peers: PeerNetwork
  readonly directory: PeerDirectory
  readonly registrySource: (ref: ContentRef, layout: PieceLayout) => PieceSource
  readonly key: PrivateKey
  readonly clock: Clock
  readonly log: Logger
  readonly random: () => number
  readonly metrics: {
    readonly pieceFailure: (reason: string) => void
    readonly received: (source: 'peer' | 'registry', bytes: number) => void
    readonly committed: (seconds: number) => void
  }
}

/** One blob on its way here. */
export interface Activity {
  readonly transfer: Transfer
  /** Since it began. */
  readonly seconds: number
  /** Readers that wait for its bytes. */
  readonly waiting: number
  /** Hosts that have some of it, pieces asked of them now, connections to the registry, runs that are this host's to fetch. */
  readonly sources: { readonly peers: number; readonly requests: number; readonly registry: number; readonly leases: number }
  /** Who decides what comes from the registry: the tracker, or this host on its own. */
  readonly order: 'leases' | 'own'
}

interface Running {
  readonly transfer: Transfer
  readonly startedAt: number
  /** Settles when the blob is committed or given up. */
  readonly done: PromiseWithResolvers<void>
}

/** Drives the scheduler: feeds it what happens at peers, tracker, registry and store, and carries out its commands. */
export class Swarm implements AsyncDisposable {
  readonly #deps: SwarmDeps
  readonly #state: SwarmState
  readonly #running = new Map<Digest, Running>()
  readonly #starting = new Map<Digest, Promise<Transfer>>()
  readonly #closing = new Map<Digest, Promise<void>>()
  readonly #disputed = new Set<Digest>()
  readonly #stop = new AbortController()
  readonly #queue: SwarmEvent[] = []
  #stepping = false
  #ticking = false
  readonly #loops: Promise<void>[]

  constructor(deps: SwarmDeps) {
    this.#deps = deps
    this.#state = createState(deps.peers.id, deps.random, deps.directory.connected)
    for (const peer of deps.peers.connected()) this.dispatch({ type: 'up', peer })
    this.#loops = [this.#followPeers(), this.#followDirectory()].map((loop) =>
      loop.catch((error: unknown) => {
        if (!this.#stop.signal.aborted) deps.log.error({ error: describeError(error) }, 'the swarm lost an event stream')
      })
    )
  }

  /** The transfer of a blob that is being fetched now. */
  running(digest: Digest): Transfer | undefined {
    return this.#running.get(digest)?.transfer
  }

  /** Whether a neighbour is known to have a piece of a blob that is being fetched. */
  peerHas(peer: string, blob: Digest, piece: number): boolean {
    return this.#state.blobs.get(blob)?.holders.get(peer)?.has(piece) ?? false
  }

  /** What is fetched now, and from where. */
  activity(): readonly Activity[] {
    const now = this.#deps.clock.now()
    return [...this.#running].map(([digest, { transfer, startedAt }]) => {
      const blob = this.#state.blobs.get(digest)
      return {
        transfer,
        seconds: (now - startedAt) / 1000,
        waiting: blob === undefined ? 0 : [...blob.readers.values()].reduce((sum, count) => sum + count, 0),
        sources: {
          peers: blob?.holders.size ?? 0,
          requests: blob === undefined ? 0 : [...blob.requests.values()].reduce((sum, requests) => sum + requests.length, 0),
          registry: blob?.fetches.length ?? 0,
          leases: blob?.leases.size ?? 0
        },
        order: blob?.adriftSince === undefined && this.#deps.directory.connected ? 'leases' : 'own'
      }
    })
  }

  /**
   * Starts to fetch a blob, or joins the fetch that runs.
   * @throws {LayerswarmError} STORE_FULL, STORE_FAILED
   */
  async start(ref: ContentRef, layout: PieceLayout): Promise<Transfer> {
    const running = this.running(ref.digest) ?? this.#starting.get(ref.digest)
    if (running !== undefined) return await running
    const starting = this.#start(ref, layout).finally(() => this.#starting.delete(ref.digest))
    this.#starting.set(ref.digest, starting)
    return await starting
  }

  async #start(ref: ContentRef, layout: PieceLayout): Promise<Transfer> {
    await this.#closing.get(ref.digest)
    const partial = await this.#deps.store.begin(ref.digest, layout)
    const transfer = new Transfer(ref, partial, {
      dispatch: (event) => this.dispatch(event),
      log: this.#deps.log,
      peerSource: (peer, wantMap) => this.#deps.peers.source(peer, ref.digest, layout, { wantMap }),
      registrySource: () => this.#deps.registrySource(ref, layout),
      claim: (piece, hash) => this.#claim(ref.digest, piece, hash),
      trust: this.#disputed.has(ref.digest) ? NO_TRUST : this.#deps.directory,
      onPieceFailure: this.#deps.metrics.pieceFailure,
      onBytes: this.#deps.metrics.received,
      abandon: (error) => void this.abandon(ref.digest, error)
    })
    const done = Promise.withResolvers<void>()
    done.promise.catch(() => undefined)
    this.#running.set(ref.digest, { transfer, startedAt: this.#deps.clock.now(), done })
    this.dispatch({ type: 'open', blob: ref.digest, layout, have: partial.have() })
    await transfer.recallClaims()
    void this.#tick()
    return transfer
  }

  /** Settles when the blob is committed. @throws why it was given up */
  async finished(digest: Digest): Promise<void> {
    await this.#running.get(digest)?.done.promise
  }

  /** Takes in the tracker's answer for blobs that were started. */
  planned(plan: Plan): void {
    for (const blob of plan.blobs) {
      if (blob.map !== undefined) this.running(blob.digest)?.setMap(blob.map.hashes, blob.map.proven)
      this.dispatch({ type: 'planned', blob: blob.digest })
      this.dispatch({ type: 'leases', blob: blob.digest, grant: blob.leases, revoke: [] })
    }
    this.dispatch({ type: 'peers', peers: plan.peers })
  }

  introduce(peers: readonly PeerAddress[]): void {
    this.dispatch({ type: 'peers', peers })
  }

  planFailed(blobs: readonly Digest[]): void {
    for (const blob of blobs) this.dispatch({ type: 'planFailed', blob })
  }

  /** A client waits for `piece`, or no longer does. */
  reader(blob: Digest, piece: number, waiting: boolean): void {
    this.dispatch({ type: 'reader', blob, piece, waiting })
  }

  /** What is under way, as a tracker that came back must hear it. */
  partials(): DirectoryNote[] {
    return [...this.#state.blobs.values()]
      .filter((blob) => !blob.have.complete)
      .map((blob) => ({
        t: 'partial',
        blob: blob.digest,
        size: blob.layout.size,
        bits: blob.have.encode(),
        leases: [...blob.leases.values()]
      }))
  }

  /** Gives a fetch up: readers see `error`, what has landed stays on disk. */
  async abandon(digest: Digest, error: unknown): Promise<void> {
    const running = this.#running.get(digest)
    if (running === undefined) return
    running.transfer.partial.fail(error)
    running.done.reject(error)
    this.#deps.directory.tell({ t: 'cancel', blob: digest })
    await this.#close(digest)
  }

  dispatch(event: SwarmEvent): void {
    this.#queue.push(event)
    if (this.#stepping) return
    this.#stepping = true
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        for (const command of step(this.#state, next, this.#deps.clock.now())) this.#execute(command)
      }
    } finally {
      this.#stepping = false
    }
  }

  #execute(command: SwarmCommand): void {
    switch (command.type) {
      case 'connect':
        this.#deps.peers.connect(command.peer, { signal: this.#stop.signal }).catch((error: unknown) => {
          // A host that is down is the fleet's daily life; one of another version takes no part until somebody upgrades it.
          const level = isLayerswarmError(error, 'PEER_VERSION') ? 'warn' : 'debug'
          this.#deps.log[level]({ peer: command.peer.name, error: describeError(error) }, 'no connection to a peer')
        })
        return
      case 'ban':
        this.#deps.log.warn({ peer: command.peer }, 'a peer sent bytes that do not match their hash; it is dropped')
        this.#deps.peers.ban(command.peer, 'sent false bytes')
        return
      case 'tell':
        this.#deps.directory.tell(command.note)
        return
      case 'complete':
        void this.#commit(command.blob)
        return
      case 'retire':
        void this.#retire(command.blob)
        return
      case 'giveUp': {
        const cause = this.running(command.blob)?.registryError
        void this.abandon(command.blob, cause ?? new LayerswarmError('STALLED'))
        return
      }
    }
    const transfer = this.running(command.blob)
    if (transfer === undefined) return
    if (command.type === 'observe') transfer.observe(command.peer)
    else if (command.type === 'request') transfer.request(command.peer, command.piece, command.held)
    else if (command.type === 'cancel') transfer.cancel(command.peer, command.piece)
    else if (command.type === 'fetch') transfer.fetch(command.fetch, command.run)
    else transfer.stopFetch(command.fetch)
  }

  async #commit(digest: Digest): Promise<void> {
    const running = this.#running.get(digest)
    if (running === undefined) return
    const { transfer } = running
    try {
      await transfer.partial.commit()
    } catch (error) {
      if (isLayerswarmError(error, 'DIGEST_MISMATCH')) await this.#dispute(running, error)
      else await this.abandon(digest, error)
      return
    }
    this.#deps.metrics.committed((this.#deps.clock.now() - running.startedAt) / 1000)
    try {
      const map = await transfer.partial.map()
      const { size, pieces } = transfer.partial.layout
      if (map !== undefined && pieces > 1) this.#deps.directory.tell({ t: 'done', blob: digest, size, root: mapRoot(digest, map) })
    } finally {
      running.done.resolve()
    }
  }

  /** Ends what is finished; a commit may still be at work on the bytes. */
  async #retire(digest: Digest): Promise<void> {
    const running = this.#running.get(digest)
    await running?.done.promise.catch(() => undefined)
    if (running !== undefined && this.#running.get(digest) === running) await this.#close(digest)
  }

  /**
   * The pieces fit their claims but not the digest: somebody vouched for false bytes. Clients that were sent some are
   * cut off, what this host did not fetch itself is forgotten, and nobody's word on this blob counts here any more.
   */
  async #dispute(running: Running, error: LayerswarmError): Promise<void> {
    const { transfer } = running
    const authors = [...transfer.book.authors].filter((author) => author !== this.#deps.peers.id)
    this.#deps.log.error({ digest: transfer.digest, authors }, 'the blob does not match its digest; the claims of these hosts are in doubt')
    this.#deps.metrics.pieceFailure('digest')
    if (this.#disputed.size >= MAX_DISPUTED) this.#disputed.clear()
    this.#disputed.add(transfer.digest)
    const pieces = [...transfer.partial.have()].filter((piece) => !transfer.fromRegistry.has(piece))
    try {
      await transfer.partial.discard(pieces.length === 0 ? undefined : pieces)
    } catch (failure) {
      this.#deps.log.debug({ digest: transfer.digest, error: describeError(failure) }, 'the pieces in doubt could not be discarded')
    }
    await this.abandon(transfer.digest, error)
  }

  async #close(digest: Digest): Promise<void> {
    const running = this.#running.get(digest)
    if (running === undefined) return
    this.#running.delete(digest)
    this.dispatch({ type: 'close', blob: digest })
    running.transfer.close()
    const closing = Promise.resolve(running.transfer.partial[Symbol.asyncDispose]()).finally(() => this.#closing.delete(digest))
    this.#closing.set(digest, closing)
    await closing
  }

  async #claim(blob: Digest, piece: number, hash: Uint8Array): Promise<Claim | undefined> {
    const lease = this.#state.blobs.get(blob)?.leases.get(runOf(piece))
    if (lease === undefined && this.#deps.directory.connected) return undefined
    return await signClaim(this.#deps.key, { blob, first: piece, hashes: hash, author: this.#deps.peers.id, ...(lease && { lease }) })
  }

  async #followPeers(): Promise<void> {
    for await (const event of this.#deps.peers.events({ signal: this.#stop.signal })) {
      if (event.type !== 'watched') this.dispatch(event)
      else this.dispatch({ type: 'up', peer: event.peer })
    }
  }

  async #followDirectory(): Promise<void> {
    for await (const event of this.#deps.directory.events({ signal: this.#stop.signal })) this.#onDirectory(event)
  }

  #onDirectory(event: DirectoryEvent): void {
    switch (event.type) {
      case 'up':
      case 'down':
        this.dispatch({ type: 'tracker', up: event.type === 'up' })
        break
      case 'leases': {
        const grant = event.grant.map(({ run }) => run)
        this.#deps.log.debug({ digest: event.blob, grant, revoke: event.revoke }, 'leases')
        this.dispatch(event)
        break
      }
      case 'peers':
        this.dispatch(event)
        break
      case 'map':
        this.running(event.blob)?.setMap(event.map.hashes, event.map.proven)
        break
      case 'wantMap':
        void this.#sendMap(event.blob)
    }
  }

  async #sendMap(blob: Digest): Promise<void> {
    try {
      await using reader = await this.#deps.store.open(blob)
      const hashes = await reader?.map()
      if (reader !== undefined && hashes !== undefined) {
        this.#deps.directory.tell({ t: 'map', blob, size: reader.layout.size, hashes })
      }
    } catch (error) {
      this.#deps.log.debug({ digest: blob, error: describeError(error) }, 'the piece map could not be read')
    }
  }

  async #tick(): Promise<void> {
    if (this.#ticking) return
    this.#ticking = true
    try {
      while (this.#running.size > 0 && !this.#stop.signal.aborted) {
        await this.#deps.clock.sleep(TICK_MS, { signal: this.#stop.signal })
        this.dispatch({ type: 'tick' })
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error
    } finally {
      this.#ticking = false
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const stopping = new LayerswarmError('STALLED', { detail: 'the agent is stopping', blame: 'local' })
    for (const digest of [...this.#running.keys()]) await this.abandon(digest, stopping)
    this.#stop.abort(stopping)
    await Promise.all(this.#loops)
  }
}
