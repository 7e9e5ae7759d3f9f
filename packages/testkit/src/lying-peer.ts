import { EventEmitter } from 'node:events'
import { type Claim, encodeClaim, type Lease, signClaim } from '@layerswarm/core/claims.ts'
import type { HostPort } from '@layerswarm/core/config/addresses.ts'
import { type Digest, pieceHash } from '@layerswarm/core/digest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import { type Identity, newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode, type P2pNode } from '@layerswarm/core/p2p/node.ts'
import { runOf } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import { DIRECTORY_PROTOCOL, MAX_DIRECTORY_MESSAGE, type PeerAddress, trackerMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import { decodeMessage } from '@layerswarm/core/wire/frames.ts'
import {
  GET_PROTOCOL,
  type GetRequest,
  getRequest,
  MAX_GET_MESSAGE,
  MAX_OBSERVE_MESSAGE,
  OBSERVE_PROTOCOL,
  type ObserveRequest,
  observeRequest
} from '@layerswarm/core/wire/peer-protocol.ts'
import type { FixtureBlob } from './blob-fixtures.ts'

/** What a {@link LyingPeer} does wrong. */
export type Lie =
  | 'none'
  /** Every piece has its first bit flipped. */
  | 'wrong-bytes'
  /** Every piece is a byte short, and says so. */
  | 'wrong-length'
  /** Says that it holds all, and sends nothing. */
  | 'over-claim'
  /** Stops in the middle of every piece. */
  | 'stall'
  /** Answers requests that were never made. */
  | 'unasked'
  /** Answers everything with a message longer than any may be. */
  | 'oversize'
  /** Answers everything with bytes that are no message. */
  | 'garbage'
  /** Lists a piece that the blob does not have. */
  | 'bad-have'
  /** Its bitfield has another length than the blob. */
  | 'bad-bits'
  /** Signs claims on hashes that are false, and sends bytes that fit them. */
  | 'false-claim'

export interface LyingPeerOptions {
  readonly blobs: readonly FixtureBlob[]
  readonly lie?: Lie
  readonly listen?: HostPort
  readonly clusterKey?: Uint8Array
  /** Under which lease its false claims are made, if any. */
  readonly claim?: (claim: Omit<Claim, 'sig'>) => Omit<Claim, 'sig'>
}

/** A real host of the fleet that speaks the peer protocols and does one thing wrong; which one can change at any time. */
export class LyingPeer implements AsyncDisposable {
  readonly node: P2pNode
  lie: Lie
  /** `get` with each request, `half` when it stops in the middle of a piece. */
  readonly events = new EventEmitter()
  /** Requests that came in, by piece. */
  readonly asked: number[] = []
  /** Get streams that were opened. */
  streams = 0
  /** Streams that stopped in the middle of a piece: nothing can follow it. */
  readonly #stalled = new WeakSet<FramedStream>()
  readonly #identity: Identity
  readonly #blobs: ReadonlyMap<Digest, FixtureBlob>
  readonly #claim: (claim: Omit<Claim, 'sig'>) => Omit<Claim, 'sig'>
  /** Leases in hand; undefined: it says that it has all of its blobs. */
  #leases: readonly Lease[] | undefined

  private constructor(node: P2pNode, identity: Identity, options: LyingPeerOptions) {
    this.node = node
    this.lie = options.lie ?? 'none'
    this.#identity = identity
    this.#blobs = new Map(options.blobs.map((blob) => [blob.digest, blob]))
    this.#claim = options.claim ?? ((claim) => claim)
  }

  static async start(options: LyingPeerOptions): Promise<LyingPeer> {
    const { listen = { host: '127.0.0.1', port: 0 }, clusterKey } = options
    const identity = await newIdentity()
    const log = createLogger({ level: 'silent' })
    const node = await createNode({ identity, version: '0.0.0-liar', listen, ...(clusterKey && { clusterKey }) }, { log })
    const peer = new LyingPeer(node, identity, options)
    await node.handle(OBSERVE_PROTOCOL, { maxMessage: MAX_OBSERVE_MESSAGE }, (stream) => {
      stream.start({
        onMessage: (body) => void peer.#onObserve(stream, decodeMessage(observeRequest, body)),
        onClose: () => undefined
      })
    })
    await node.handle(GET_PROTOCOL, { maxMessage: MAX_GET_MESSAGE }, (stream) => {
      peer.streams++
      stream.start({ onMessage: (body) => peer.#onGet(stream, decodeMessage(getRequest, body)), onClose: () => undefined })
    })
    return peer
  }

  get id(): string {
    return this.node.id
  }

  get address(): PeerAddress {
    return { id: this.id, name: 'liar', addrs: [...this.node.addresses] }
  }

  /** Tells a tracker at `address` (a multiaddr) that this host holds all of its blobs, as an agent does. */
  async announceTo(address: string): Promise<void> {
    const tracker = await this.node.connect([address])
    const stream = await this.node.open(tracker, DIRECTORY_PROTOCOL, { maxMessage: MAX_DIRECTORY_MESSAGE })
    stream.start({ onMessage: () => undefined, onClose: () => undefined })
    stream.send({ t: 'hello', name: 'liar', version: '0.0.0-liar', port: this.node.port ?? 0, addrs: [...this.node.addresses] })
    const add = [...this.#blobs.values()].map(({ digest, layout }) => ({ digest, size: layout.size }))
    stream.send({ t: 'hold', full: true, add, drop: [] })
  }

  /** Asks a tracker at `address` for leases of a blob, as an agent does, and says that it fetched and spread what they are for. From then on it has that much of the blob. */
  async takeLeases(address: string, blob: FixtureBlob): Promise<readonly Lease[]> {
    const tracker = await this.node.connect([address])
    const stream = await this.node.open(tracker, DIRECTORY_PROTOCOL, { maxMessage: MAX_DIRECTORY_MESSAGE })
    const { promise, resolve } = Promise.withResolvers<readonly Lease[]>()
    stream.start({
      onMessage: (body) => {
        const message = decodeMessage(trackerMessage, body)
        if (message.t === 'plan') resolve(message.blobs.flatMap(({ leases }) => leases))
      },
      onClose: () => undefined
    })
    stream.send({ t: 'hello', name: 'liar', version: '0.0.0-liar', port: this.node.port ?? 0, addrs: [...this.node.addresses] })
    const blobs = [{ digest: blob.digest, size: blob.layout.size }]
    stream.send({ t: 'plan', id: 1, scope: 'registry.example.com/app', blobs, origin: true, want: true })
    this.#leases = await promise
    const got = [...Array(blob.layout.pieces).keys()].filter((piece) => this.#leaseOf(piece) !== undefined)
    stream.send({ t: 'report', blob: blob.digest, got, spread: got, bytes: got.length * blob.layout.pieceSize })
    return this.#leases
  }

  #leaseOf(piece: number): Lease | undefined {
    return this.#leases?.find(({ run }) => run === runOf(piece))
  }

  async #onObserve(stream: FramedStream, request: ObserveRequest): Promise<void> {
    if (request.t === 'unwatch') return
    if (this.#breaksFraming(stream)) return
    const { blob: digest, size } = request
    const blob = this.#blobs.get(digest)
    if (blob === undefined) {
      stream.send({ t: 'state', blob: digest, size, load: 0 })
      return
    }
    const { pieces } = blob.layout
    const held = [...Array(pieces).keys()].filter((piece) => this.#leases === undefined || this.#leaseOf(piece) !== undefined)
    if (this.lie === 'false-claim') for (const piece of held) stream.send(await this.#falseClaim(blob, piece))
    const bits = PieceSet.of(pieces + (this.lie === 'bad-bits' ? 64 : 0), held).encode()
    stream.send({ t: 'state', blob: digest, size, bits, load: 0 })
    if (this.lie === 'bad-have') stream.send({ t: 'have', blob: digest, pieces: [pieces], load: 0 })
  }

  async #falseClaim(blob: FixtureBlob, piece: number): Promise<object> {
    const hashes = pieceHash(this.#bytes(blob, piece))
    const lease = this.#leaseOf(piece)
    const claim = this.#claim({ blob: blob.digest, first: piece, hashes, author: this.id, ...(lease && { lease }) })
    return { t: 'claims', blob: blob.digest, claims: [encodeClaim(await signClaim(this.#identity.key, claim))] }
  }

  #onGet(stream: FramedStream, request: GetRequest): void {
    if (request.t === 'cancel') {
      stream.send({ t: 'no', id: request.id, reason: 'cancelled', load: 0 })
      return
    }
    const { id, piece } = request
    this.asked.push(piece)
    this.events.emit('get', piece)
    if (this.#breaksFraming(stream)) return
    const blob = this.#blobs.get(request.blob)
    if (blob === undefined || this.lie === 'over-claim') {
      stream.send({ t: 'no', id, reason: 'missing', load: 0 })
      return
    }
    if (this.#stalled.has(stream)) return
    const bytes = this.#bytes(blob, piece)
    stream.send({ t: 'data', id: this.lie === 'unasked' ? id + 1 : id, length: bytes.byteLength, load: 0 })
    if (this.lie !== 'stall') {
      stream.sendRaw(bytes)
      return
    }
    this.#stalled.add(stream)
    stream.sendRaw(bytes.subarray(0, bytes.byteLength >> 1))
    this.events.emit('half', piece)
  }

  #bytes(blob: FixtureBlob, piece: number): Uint8Array {
    const bytes = new Uint8Array(blob.piece(piece))
    if (this.lie === 'wrong-length') return bytes.subarray(1)
    if (this.lie === 'wrong-bytes' || this.lie === 'false-claim') bytes[0] = (bytes[0] ?? 0) ^ 1
    return bytes
  }

  #breaksFraming(stream: FramedStream): boolean {
    if (this.lie === 'oversize') stream.sendRaw(Uint8Array.of(0x7f, 0xff, 0xff, 0xff, 0))
    else if (this.lie === 'garbage') stream.sendRaw(Uint8Array.of(0, 0, 0, 4, 0xff, 0xfe, 0xfd, 0xfc))
    else return false
    return true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node[Symbol.asyncDispose]()
  }
}
