import { type Claim, mapRoot, signClaim } from '@layerswarm/core/claims.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { type PieceLayout, runOf } from '@layerswarm/core/piece-layout.ts'
import type { PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import type { PrivateKey } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { BlobStore, ContentRef, DirectoryNote, PeerDirectory, PeerNetwork, PieceSource, Plan } from '../ports.ts'
import { type Activity, activityOf, partialsOf } from './activity.ts'
import { carryOut, type Means } from './carry-out.ts'
import { isCommon } from './derived.ts'
import { Disputes } from './disputes.ts'
import { Following } from './following.ts'
import type { SwarmEvent } from './messages.ts'
import { step } from './scheduler.ts'
import { createState, type SwarmState } from './state.ts'
import { Transfer } from './transfer.ts'

/** How often the scheduler looks at the clock while something is being fetched, ms. */
const TICK_MS = 50

export interface SwarmDeps {
  readonly store: Pick<BlobStore, 'begin' | 'open'>
  readonly peers: PeerNetwork
  readonly directory: PeerDirectory
  readonly registrySource: (ref: ContentRef, layout: PieceLayout) => PieceSource
  /** Whether a registry is reached over TLS. */
  readonly overTls: (registry: string) => boolean
  readonly key: PrivateKey
  readonly clock: Clock
  readonly log: Logger
  readonly random: () => number
  /** What this host may receive, bytes a second. */
  readonly downloadLimit?: number | undefined
  readonly metrics: {
    readonly pieceFailure: (reason: string) => void
    readonly received: (source: 'peer' | 'registry', bytes: number) => void
    readonly committed: (seconds: number) => void
  }
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
  /** Bytes that came for blobs that are no longer under way. */
  #movedBefore = 0
  readonly #closing = new Map<Digest, Promise<void>>()
  readonly #disputes: Disputes
  readonly #stop = new AbortController()
  readonly #means: Means
  readonly #queue: SwarmEvent[] = []
  #stepping = false
  #ticking = false
  readonly #following: Following

  constructor(deps: SwarmDeps) {
    this.#deps = deps
    this.#state = createState(deps.peers.id, deps.random, deps.directory.connected, deps.downloadLimit)
    this.#disputes = new Disputes({
      self: deps.peers.id,
      directory: deps.directory,
      overTls: deps.overTls,
      log: deps.log,
      onPieceFailure: deps.metrics.pieceFailure
    })
    const running = (blob: Digest) => this.running(blob)
    this.#means = {
      ...deps,
      signal: this.#stop.signal,
      running,
      complete: (blob) => void this.#commit(blob),
      retire: (blob) => void this.#retire(blob),
      abandon: (blob, error) => void this.abandon(blob, error)
    }
    this.#following = new Following({ ...deps, dispatch: (event) => this.dispatch(event), running })
  }

  /** The transfer of a blob that is being fetched now. */
  running(digest: Digest): Transfer | undefined {
    return this.#running.get(digest)?.transfer
  }

  /** Whether a neighbour is known to have a piece of a blob that is being fetched. */
  peerHas(peer: string, blob: Digest, piece: number): boolean {
    return this.#state.blobs.get(blob)?.holders.get(peer)?.has(piece) ?? false
  }

  /** Whether several neighbours are known to have a piece of a blob that is being fetched. */
  isCommon(digest: Digest, piece: number): boolean {
    const blob = this.#state.blobs.get(digest)
    return blob !== undefined && isCommon(blob, piece)
  }

  /** What is fetched now, and from where. */
  activity(): readonly Activity[] {
    const now = this.#deps.clock.now()
    return [...this.#running].map(([digest, { transfer, startedAt }]) =>
      activityOf(transfer, (now - startedAt) / 1000, this.#state.blobs.get(digest), this.#deps.directory.connected)
    )
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
      trust: this.#disputes.trustFor(ref.digest),
      onPieceFailure: this.#deps.metrics.pieceFailure,
      onBytes: this.#deps.metrics.received,
      refuted: (pieces) => void this.#refuted(transfer, pieces),
      abandon: (error) => void this.abandon(ref.digest, error)
    })
    const done = Promise.withResolvers<void>()
    done.promise.catch(() => undefined)
    this.#running.set(ref.digest, { transfer, startedAt: this.#deps.clock.now(), done })
    this.dispatch({ type: 'open', blob: ref.digest, layout, have: partial.have(), pull: transfer.pull })
    transfer.recallClaims()
    void this.#tick()
    return transfer
  }

  /** Changes with every byte that comes in for a blob of `pull`. */
  moved(pull: string): number {
    let bytes = this.#movedBefore
    for (const { transfer } of this.#running.values()) if (transfer.pull === pull) bytes += transfer.moved
    return bytes
  }

  /** Settles when the blob is committed. @throws why it was given up */
  async finished(digest: Digest): Promise<void> {
    await this.#running.get(digest)?.done.promise
  }

  /** Takes in the tracker's answer for blobs that were started. */
  planned(plan: Plan): void {
    for (const blob of plan.blobs) {
      if (blob.map !== undefined) this.running(blob.digest)?.setMap(blob.map.hashes, blob.map.proven)
      this.dispatch({ type: 'planned', blob: blob.digest, gateway: blob.gateway })
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
    return partialsOf(this.#state.blobs)
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
        for (const command of step(this.#state, next, this.#deps.clock.now())) carryOut(command, this.#means)
      }
    } finally {
      this.#stepping = false
    }
  }

  async #commit(digest: Digest): Promise<void> {
    const running = this.#running.get(digest)
    if (running === undefined) return
    const { transfer } = running
    try {
      await transfer.partial.commit()
    } catch (error) {
      if (isLayerswarmError(error, 'DIGEST_MISMATCH')) await this.#disputes.open(transfer)
      // Clients that were sent some of it are cut off.
      await this.abandon(digest, error)
      return
    }
    this.#deps.metrics.committed((this.#deps.clock.now() - running.startedAt) / 1000)
    try {
      const map = await transfer.partial.map()
      const { size, pieces } = transfer.partial.layout
      if (map !== undefined && pieces > 1) {
        this.#deps.directory.tell({ t: 'done', blob: digest, size, root: mapRoot(digest, map) })
        this.#disputes.settle(transfer, map)
      }
    } finally {
      running.done.resolve()
    }
  }

  /** Clients may have been sent some of the false pieces: they are cut off, and begin anew with what is left. */
  async #refuted(transfer: Transfer, pieces: readonly number[]): Promise<void> {
    const { digest, partial } = transfer
    await this.#disputes.refute(transfer, pieces)
    if (!partial.complete) await this.abandon(digest, new LayerswarmError('DIGEST_MISMATCH', { detail: digest }))
  }

  /** Ends what is finished; a commit may still be at work on the bytes. */
  async #retire(digest: Digest): Promise<void> {
    const running = this.#running.get(digest)
    await running?.done.promise.catch(() => undefined)
    if (running !== undefined && this.#running.get(digest) === running) await this.#close(digest)
  }

  async #close(digest: Digest): Promise<void> {
    const running = this.#running.get(digest)
    if (running === undefined) return
    this.#running.delete(digest)
    this.#movedBefore += running.transfer.moved
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

  async #tick(): Promise<void> {
    if (this.#ticking) return
    this.#ticking = true
    try {
      while (this.#running.size > 0 && !this.#stop.signal.aborted) {
        await this.#deps.clock.sleep(TICK_MS, { signal: this.#stop.signal })
        for (const { transfer } of this.#running.values()) transfer.tellArriving()
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
    await this.#following[Symbol.asyncDispose]()
  }
}
