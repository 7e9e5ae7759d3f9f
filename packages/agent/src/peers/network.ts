import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { P2pNode } from '@layerswarm/core/p2p/node.ts'
import type { PieceLayout } from '@layerswarm/core/piece-layout.ts'
import type { Throttle } from '@layerswarm/core/rate-limiter.ts'
import type { PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import { GET_PROTOCOL, MAX_GET_MESSAGE, MAX_OBSERVE_MESSAGE, OBSERVE_PROTOCOL } from '@layerswarm/core/wire/peer-protocol.ts'
import type { Logger } from 'pino'
import type { Abortable, BlobStore, PeerEvent, PeerNetwork, PieceSource, UploadPolicy } from '../ports.ts'
import { GetClient } from './get-client.ts'
import { ObserveClient } from './observe-client.ts'
import { ObserveServer } from './observe-server.ts'
import { PeerEvents } from './peer-events.ts'
import { type Neighbour, PeerSource } from './peer-source.ts'
import { PieceBuffers } from './piece-buffers.ts'
import { ReaderPool } from './reader-pool.ts'
import { Uploads } from './uploads.ts'

/** How long uploads under way may take when the network closes, ms. */
const DRAIN_MS = 3000

export interface PeerNetworkDeps {
  readonly node: P2pNode
  readonly store: Pick<BlobStore, 'open' | 'changes'>
  readonly uploadPolicy: UploadPolicy
  /** Whether a peer is known to have a piece, so that it need not be told of it. */
  readonly peerHas?: (peer: string, blob: Digest, piece: number) => boolean
  /** Whether several neighbours are known to have a piece. */
  readonly isCommon?: (blob: Digest, piece: number) => boolean
  readonly clock: Clock
  readonly log: Logger
  readonly metrics?: {
    /** Payload bytes sent to peers. */
    readonly sent: (bytes: number) => void
    /** Neighbours connected. */
    readonly connected: (peers: number) => void
  }
  /** What may be sent to peers, and what may be taken from them. */
  readonly limits?: { readonly upload?: Throttle | undefined; readonly download?: Throttle | undefined }
}

/**
 * The other agents. A connected host is a neighbour once it has accepted an observe stream: a tracker, or an agent of
 * another protocol version, is connected and no neighbour.
 */
export class Libp2pPeerNetwork implements PeerNetwork, AsyncDisposable {
  readonly id: string
  readonly #deps: PeerNetworkDeps
  readonly #buffers = new PieceBuffers()
  readonly #events = new PeerEvents()
  readonly #neighbours = new Map<string, Neighbour>()
  readonly #met = new Set<string>()
  readonly #readers: ReaderPool
  readonly #uploads: Uploads
  readonly #observed: ObserveServer
  readonly #stop = new AbortController()
  readonly #unsubscribe: () => void
  #following: Promise<void> = Promise.resolve()

  private constructor(deps: PeerNetworkDeps) {
    const { node, store, clock, log, metrics } = deps
    const throttle = deps.limits?.upload
    this.id = node.id
    this.#deps = deps
    const onViolation = (peer: string, error: LayerswarmError) => this.#onViolation(peer, error)
    this.#readers = new ReaderPool({ store, clock })
    this.#uploads = new Uploads({
      readers: this.#readers,
      buffers: this.#buffers,
      policy: deps.uploadPolicy,
      clock,
      log,
      metrics,
      throttle,
      onViolation
    })
    this.#observed = new ObserveServer({
      store,
      clock,
      log,
      load: () => this.#uploads.load,
      peerHas: deps.peerHas ?? (() => false),
      isCommon: deps.isCommon ?? (() => false),
      onWatched: (peer, blob, size) => this.#events.publish({ type: 'watched', peer, blob, size }),
      onViolation
    })
    this.#unsubscribe = node.subscribe(({ type, peer }) =>
      type === 'up' ? void this.#meet(peer).catch(() => undefined) : this.#onDown(peer)
    )
  }

  /** Begins to serve `store` on `node` and to follow who is connected. The node stays the caller's. */
  static async start(deps: PeerNetworkDeps): Promise<Libp2pPeerNetwork> {
    const network = new Libp2pPeerNetwork(deps)
    network.#following = network.#followStore().catch((error: unknown) => {
      if (!network.#stop.signal.aborted) deps.log.error({ error: describeError(error) }, 'the store no longer tells peers of changes')
    })
    await deps.node.handle(OBSERVE_PROTOCOL, { maxMessage: MAX_OBSERVE_MESSAGE }, (stream) => {
      network.#observed.accept(stream)
      // It may have been too early to be asked when it connected.
      network.#meetLater(stream.peer)
    })
    await deps.node.handle(GET_PROTOCOL, { maxMessage: MAX_GET_MESSAGE }, (stream) => network.#uploads.accept(stream))
    for (const peer of deps.node.connected()) network.#meetLater(peer)
    return network
  }

  async connect(peer: PeerAddress, options: Abortable = {}): Promise<void> {
    await this.#deps.node.connect(peer.addrs, { peer: peer.id, ...options })
    await this.#meet(peer.id, options)
  }

  connected(): readonly string[] {
    return [...this.#met]
  }

  source(peer: string, blob: Digest, layout: PieceLayout, options: { readonly wantMap?: boolean } = {}): PieceSource {
    const deps = { neighbour: () => this.#neighbour(peer), buffers: this.#buffers }
    return new PeerSource(deps, { id: peer, blob, layout, wantMap: options.wantMap ?? false })
  }

  ban(peer: string, reason: string): void {
    this.#deps.node.ban(peer, reason)
  }

  events(options: Abortable = {}): AsyncIterable<PeerEvent> {
    return this.#events.subscribe(options)
  }

  /** Takes no more requests, lets uploads under way end for up to three seconds, and closes all streams. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe()
    const drained = this.#uploads.drain(AbortSignal.timeout(DRAIN_MS))
    this.#stop.abort(new LayerswarmError('PEER_UNREACHABLE', { detail: 'this host is stopping', blame: 'local' }))
    await Promise.all([this.#deps.node.unhandle(OBSERVE_PROTOCOL), this.#deps.node.unhandle(GET_PROTOCOL), this.#following])
    for (const peer of [...this.#neighbours.keys()]) this.#close(peer)
    await Promise.all([drained, this.#observed.close()])
    await this.#readers[Symbol.asyncDispose]()
  }

  #meetLater(peer: string): void {
    this.#meet(peer).catch(() => undefined)
  }

  /** @throws {LayerswarmError} PEER_UNREACHABLE, PEER_VERSION: it is no neighbour then */
  async #meet(peer: string, options: Abortable = {}): Promise<void> {
    if (this.#met.has(peer)) return
    try {
      await this.#neighbour(peer).observe.ready(options)
    } catch (error) {
      this.#deps.log.debug({ peer, error: describeError(error) }, 'a connected host is no neighbour')
      throw error
    }
    if (this.#met.has(peer) || !this.#deps.node.isConnected(peer)) return
    this.#met.add(peer)
    this.#deps.metrics?.connected(this.#met.size)
    this.#events.publish({ type: 'up', peer })
  }

  #neighbour(peer: string): Neighbour {
    if (!this.#deps.node.isConnected(peer)) throw new LayerswarmError('PEER_UNREACHABLE', { detail: `not connected to ${peer}` })
    const known = this.#neighbours.get(peer)
    if (known !== undefined) return known
    const { node } = this.#deps
    const onViolation = (error: LayerswarmError) => this.#onViolation(peer, error)
    const observe = new ObserveClient(() => node.open(peer, OBSERVE_PROTOCOL, { maxMessage: MAX_OBSERVE_MESSAGE }), onViolation)
    const get = new GetClient({
      open: (options) => node.open(peer, GET_PROTOCOL, { maxMessage: MAX_GET_MESSAGE, ...options }),
      buffers: this.#buffers,
      throttle: this.#deps.limits?.download,
      onLoad: (blob, load) => observe.onLoad(blob, load),
      onViolation
    })
    const neighbour = { observe, get }
    this.#neighbours.set(peer, neighbour)
    return neighbour
  }

  #onDown(peer: string): void {
    this.#close(peer)
    if (!this.#met.delete(peer)) return
    this.#deps.metrics?.connected(this.#met.size)
    this.#events.publish({ type: 'down', peer })
  }

  #close(peer: string): void {
    const gone = new LayerswarmError('PEER_UNREACHABLE', { detail: 'the connection closed' })
    const neighbour = this.#neighbours.get(peer)
    this.#neighbours.delete(peer)
    neighbour?.observe.close(gone)
    neighbour?.get.close(gone)
  }

  #onViolation(peer: string, error: LayerswarmError): void {
    this.#deps.log.warn({ peer, error: describeError(error) }, 'a peer broke the protocol; its connection is closed')
    this.#deps.node.disconnect(peer, error.message)
  }

  async #followStore(): Promise<void> {
    for await (const change of this.#deps.store.changes({ signal: this.#stop.signal })) {
      this.#readers.forget(change.digest)
      this.#observed.onChange(change)
    }
  }
}
