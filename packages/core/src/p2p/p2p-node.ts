import type { Connection, PeerId, Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Libp2p } from 'libp2p'
import type { Logger } from 'pino'
import { LayerswarmError } from '../errors.ts'
import { FramedStream } from './framed-stream.ts'
import { outflowOver, released } from './noise-tls.ts'

/** One long-lived stream is the rule; a few more live while reset ones are replaced. */
const STREAMS_PER_PROTOCOL = 64
/** How long connections may take to say goodbye when the node stops, ms. */
const GOODBYE_MS = 500
const STOP_MS = 2000
/** Peers refused; the oldest is forgotten beyond that. */
const MAX_BANNED = 4096
/** All addresses of a peer, ms. */
export const CONNECT_MS = 8000
/** A peer that does not answer to a new stream by then is as good as gone, ms. */
export const NEGOTIATION_MS = 5000

export interface ProtocolOptions {
  /** Largest control message accepted on its streams, bytes. */
  readonly maxMessage: number
  /** Unsent bytes at which a stream to a peer that does not read is aborted. */
  readonly maxUnsent?: number
}

export interface NodeEvent {
  readonly type: 'up' | 'down'
  readonly peer: string
}

/** This host among the others: connections by peer id, streams of framed messages, and a list of who is refused. */
export class P2pNode implements AsyncDisposable {
  readonly id: string
  readonly #libp2p: Libp2p
  readonly #banned: Set<string>
  readonly #maxConnections: number
  readonly #log: Logger

  constructor(libp2p: Libp2p, banned: Set<string>, maxConnections: number, log: Logger) {
    this.id = libp2p.peerId.toString()
    this.#libp2p = libp2p
    this.#banned = banned
    this.#maxConnections = maxConnections
    this.#log = log
  }

  /** Where it listens, one multiaddr per address of this machine, without the peer id. */
  get addresses(): readonly string[] {
    return this.#libp2p.getMultiaddrs().map(withoutPeer)
  }

  /** The port it listens on; undefined when it does not listen. */
  get port(): number | undefined {
    const text = /\/tcp\/(\d+)/.exec(this.addresses[0] ?? '')?.[1]
    return text === undefined ? undefined : Number(text)
  }

  /** Peers with an open connection. */
  connected(): readonly string[] {
    return this.#libp2p.getPeers().map(String)
  }

  isConnected(peer: string): boolean {
    return this.#connection(peer) !== undefined
  }

  /** The address that a connected peer is seen at, as a multiaddr without its id. */
  addressOf(peer: string): string | undefined {
    const connection = this.#connection(peer)
    return connection && withoutPeer(connection.remoteAddr)
  }

  /** The id of the protocol that encrypts the connection to a peer. */
  encryptionOf(peer: string): string | undefined {
    return this.#connection(peer)?.encryption
  }

  /**
   * Connects to a host at the first of `addresses` (multiaddrs) that answers, unless there is a connection.
   * @param options.peer who must answer there; without it, whoever does (the cluster key is then the only proof)
   * @returns its peer id
   * @throws {LayerswarmError} PEER_UNREACHABLE; the signal's reason when that fires
   */
  async connect(addresses: readonly string[], options: { readonly peer?: string; readonly signal?: AbortSignal } = {}): Promise<string> {
    const { peer, signal } = options
    signal?.throwIfAborted()
    if (peer !== undefined && this.isConnected(peer)) return peer
    if (peer !== undefined && this.#banned.has(peer)) throw new LayerswarmError('PEER_UNREACHABLE', { detail: `${peer} is banned` })
    if (addresses.length === 0) throw new LayerswarmError('PEER_UNREACHABLE', { detail: `no address of ${peer} is known` })
    if (this.#libp2p.getConnections().length >= this.#maxConnections)
      throw new LayerswarmError('PEER_UNREACHABLE', { detail: `this host has ${this.#maxConnections} connections already` })
    try {
      const targets = addresses.map((address) => withPeer(multiaddr(address), peer))
      const connection = await this.#libp2p.dial(targets, { signal: within(CONNECT_MS, signal) })
      return connection.remotePeer.toString()
    } catch (cause) {
      signal?.throwIfAborted()
      throw new LayerswarmError('PEER_UNREACHABLE', { detail: dialFailure(addresses, cause), cause })
    }
  }

  /**
   * Opens a stream to a connected peer.
   * @throws {LayerswarmError} PEER_UNREACHABLE, PEER_VERSION when it does not speak `protocol`; the signal's reason
   */
  async open(peer: string, protocol: string, options: ProtocolOptions & { readonly signal?: AbortSignal }): Promise<FramedStream> {
    const connection = this.#connection(peer)
    if (connection === undefined) throw new LayerswarmError('PEER_UNREACHABLE', { detail: `not connected to ${peer}` })
    const signal = within(NEGOTIATION_MS, options.signal)
    try {
      const stream = await connection.newStream(protocol, { signal, maxOutboundStreams: STREAMS_PER_PROTOCOL })
      return framed(stream, connection, protocol, options)
    } catch (cause) {
      options.signal?.throwIfAborted()
      if (cause instanceof Error && cause.name === 'UnsupportedProtocolError')
        throw new LayerswarmError('PEER_VERSION', { detail: `${peer} does not speak ${protocol}` })
      throw new LayerswarmError('PEER_UNREACHABLE', { detail: `${peer} does not answer on ${protocol}`, cause })
    }
  }

  /** Accepts streams of `protocol` from any peer. `onStream` must call `start` on what it gets. */
  async handle(protocol: string, options: ProtocolOptions, onStream: (stream: FramedStream) => void): Promise<void> {
    await this.#libp2p.handle(protocol, (stream, connection) => onStream(framed(stream, connection, protocol, options)), {
      maxInboundStreams: STREAMS_PER_PROTOCOL,
      maxOutboundStreams: STREAMS_PER_PROTOCOL
    })
  }

  /** No more streams of `protocol` are accepted; open ones stay. */
  async unhandle(protocol: string): Promise<void> {
    await this.#libp2p.unhandle(protocol)
  }

  /** Tells of peers that come and go, from now on. @returns how to stop it */
  subscribe(listener: (event: NodeEvent) => void): () => void {
    const up = (event: CustomEvent<PeerId>) => listener({ type: 'up', peer: event.detail.toString() })
    const down = (event: CustomEvent<PeerId>) => listener({ type: 'down', peer: event.detail.toString() })
    this.#libp2p.addEventListener('peer:connect', up)
    this.#libp2p.addEventListener('peer:disconnect', down)
    return () => {
      this.#libp2p.removeEventListener('peer:connect', up)
      this.#libp2p.removeEventListener('peer:disconnect', down)
    }
  }

  /** Closes the connections to `peer` at once; it may come back. */
  disconnect(peer: string, reason: string): void {
    for (const connection of this.#connections(peer)) connection.abort(new Error(reason))
  }

  /** Closes the connections to `peer` and refuses it while this process lives. */
  ban(peer: string, reason: string): void {
    const [oldest] = this.#banned
    if (this.#banned.size >= MAX_BANNED && oldest !== undefined) this.#banned.delete(oldest)
    this.#banned.add(peer)
    this.#log.warn({ peer, reason }, 'peer refused from now on')
    this.disconnect(peer, reason)
  }

  /** Says goodbye to all peers and stops listening, within three seconds. */
  async [Symbol.asyncDispose](): Promise<void> {
    const connections = this.#libp2p.getConnections()
    await Promise.all(
      connections.map((connection) =>
        connection.close({ signal: AbortSignal.timeout(GOODBYE_MS) }).catch((error: Error) => connection.abort(error))
      )
    )
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, STOP_MS)
    await Promise.race([this.#libp2p.stop(), late])
    clearTimeout(timer)
  }

  #connections(peer: string): Connection[] {
    try {
      return this.#libp2p.getConnections(peerIdFromString(peer))
    } catch {
      return []
    }
  }

  #connection(peer: string): Connection | undefined {
    return this.#connections(peer).find((connection) => connection.status === 'open')
  }
}

function framed(stream: Stream, connection: Connection, protocol: string, options: ProtocolOptions): FramedStream {
  const peer = connection.remotePeer.toString()
  const { maxMessage, maxUnsent } = options
  const limits = { maxMessage, ...(maxUnsent === undefined ? {} : { maxUnsent }) }
  return new FramedStream(stream, {
    peer,
    protocol,
    ...limits,
    released: () => released(connection),
    outflow: () => outflowOver(connection)
  })
}

function within(ms: number, signal: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(ms)
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout])
}

function withoutPeer(address: Multiaddr): string {
  return address.toString().replace(/\/p2p\/[^/]+$/, '')
}

function withPeer(address: Multiaddr, peer: string | undefined): Multiaddr {
  return peer === undefined ? address : multiaddr(withoutPeer(address)).encapsulate(`/p2p/${peer}`)
}

function dialFailure(addresses: readonly string[], cause: unknown): string {
  const errors: unknown[] = cause instanceof AggregateError ? cause.errors : [cause]
  const handshake = errors.some((error) => error instanceof Error && error.name === 'EncryptionFailedError')
  const hint = handshake ? ' (the handshake failed: have both hosts the same cluster key, and is it the expected host?)' : ''
  return `${addresses.join(', ')}${hint}`
}
