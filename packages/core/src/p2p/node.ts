import { identify } from '@libp2p/identify'
import type { Connection, PeerId } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p, type Libp2p } from 'libp2p'
import type { Logger } from 'pino'
import { formatHostPort, type HostPort, toMultiaddr } from '../config/addresses.ts'
import { describeError, LayerswarmError } from '../errors.ts'
import type { Identity } from './identity.ts'
import { libp2pLog } from './libp2p-log.ts'
import { watchLiveness } from './liveness.ts'
import { encrypters } from './noise-tls.ts'
import { CONNECT_MS, NEGOTIATION_MS, P2pNode } from './p2p-node.ts'
import { sparingUpdates } from './window-updates.ts'

export type { NodeEvent, P2pNode, ProtocolOptions } from './p2p-node.ts'

/** Connections of one agent: about twenty neighbours a swarm, a few swarms at once, the tracker. A tracker needs more. */
const DEFAULT_MAX_CONNECTIONS = 256
/** Sockets beyond the connections that may be in the middle of a handshake: a fleet that starts at once connects at once. */
const MAX_PENDING = 128
/** New connections a second from one address. Many agents may share one, behind NAT or on one machine. */
const MAX_NEW_PER_SECOND = 128
/** An honest handshake takes milliseconds; pending ones hold a place. */
const HANDSHAKE_MS = 5000
/** One address of a peer, ms; a host may have several of which some lead nowhere. */
const ADDRESS_MS = 3000
/** What a stream may have under way to a receiver. */
const WINDOW_BYTES = 4 * 1024 * 1024
/** All of the window arrives after a pause; with less than twice as much room libp2p aborts the stream. */
const READ_BUFFER_BYTES = 2 * WINDOW_BYTES

export interface NodeOptions {
  readonly identity: Identity
  /** What this host calls itself to others, for example `0.1.0`. */
  readonly version: string
  /** Where to accept connections; absent: it only makes them. Port 0 lets the system choose. */
  readonly listen?: HostPort
  /** The fleet's secret: only hosts that have the same complete a handshake. */
  readonly clusterKey?: Uint8Array
  readonly maxConnections?: number
  /**
   * Whether much is sent and received (default yes): connections then go on in TLS once Noise has authenticated them,
   * which costs a quarter of the processor time by byte, and half as much memory again by connection.
   */
  readonly bulk?: boolean
  /** A socket that has not proven who it is by then is closed, ms (default 5000). */
  readonly handshakeMs?: number
  /** Silence after which a connection is dead, ms (default 8000); it is asked for a sign of life well before. */
  readonly deadAfterMs?: number
}

/**
 * Starts a libp2p node: TCP, Noise with TLS, yamux, identify, and nothing else: no discovery, relay, or dials of its own.
 * @throws {LayerswarmError} LISTEN_FAILED
 */
export async function createNode(options: NodeOptions, deps: { readonly log: Logger }): Promise<P2pNode> {
  const { identity, version, listen, clusterKey, maxConnections = DEFAULT_MAX_CONNECTIONS } = options
  const banned = new Set<string>()
  const denied = (peer: PeerId) => banned.has(peer.toString())
  // Asked again after the handshake: all who began one at the same time passed the check before it.
  const full = () => libp2p.getConnections().length >= maxConnections
  const muxer = yamux({
    enableKeepAlive: false,
    streamOptions: { maxStreamWindowSize: WINDOW_BYTES, maxReadBufferLength: READ_BUFFER_BYTES }
  })
  const libp2p: Libp2p = await createLibp2p({
    start: false,
    privateKey: identity.key,
    nodeInfo: { name: 'layerswarm', version, userAgent: `layerswarm/${version}` },
    addresses: { listen: listen === undefined ? [] : [toMultiaddr(listen)] },
    transports: [tcp({ maxConnections: maxConnections + MAX_PENDING })],
    connectionEncrypters: encrypters(clusterKey, options.bulk),
    streamMuxers: [() => watchLiveness(sparingUpdates(muxer()), options.deadAfterMs)],
    connectionGater: {
      denyDialPeer: denied,
      denyInboundEncryptedConnection: (peer) => denied(peer) || full(),
      denyOutboundEncryptedConnection: denied
    },
    connectionManager: {
      maxConnections,
      maxIncomingPendingConnections: MAX_PENDING,
      inboundConnectionThreshold: MAX_NEW_PER_SECOND,
      inboundUpgradeTimeout: options.handshakeMs ?? HANDSHAKE_MS,
      addressDialTimeout: ADDRESS_MS,
      dialTimeout: CONNECT_MS,
      inboundStreamProtocolNegotiationTimeout: NEGOTIATION_MS,
      outboundStreamProtocolNegotiationTimeout: NEGOTIATION_MS,
      reconnectRetries: 0
    },
    // Liveness is watched below the streams, at the cost of a frame instead of a stream.
    connectionMonitor: { enabled: false },
    services: { identify: identify() },
    logger: libp2pLog(deps.log)
  })
  listLinearly(libp2p)
  try {
    await libp2p.start()
  } catch (cause) {
    const reason = /\bE[A-Z]{4,}\b/.exec(describeError(cause))?.[0] ?? describeError(cause)
    throw new LayerswarmError('LISTEN_FAILED', { detail: `${listen === undefined ? '' : formatHostPort(listen)}: ${reason}` })
  }
  return new P2pNode(libp2p, banned, maxConnections, deps.log)
}

/** The part of libp2p's connection manager that is used here; its types do not show how to reach it. */
interface ConnectionList {
  getConnections(peer?: PeerId): Connection[]
  getConnectionsMap(): { values(): Iterable<Connection[]> }
}

/**
 * libp2p asks for the list of all connections several times for each new one, and copies it once for each connection in
 * it: with ten thousand, as a tracker may have, that is 26 ms a time.
 */
function listLinearly(libp2p: Libp2p): void {
  const { connectionManager } = (libp2p as unknown as { components: { connectionManager: ConnectionList } }).components
  const ofPeer = connectionManager.getConnections.bind(connectionManager)
  connectionManager.getConnections = (peer) =>
    peer === undefined ? [...connectionManager.getConnectionsMap().values()].flat() : ofPeer(peer)
}
