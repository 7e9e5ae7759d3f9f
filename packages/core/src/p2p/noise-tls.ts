/**
 * `/layerswarm/noise-tls/1`: Noise authenticates, TLS encrypts. Noise XX proves both peer ids and, by its prologue,
 * that both ends know the cluster key. Inside it each end sends 32 random bytes, the initiator first; both derive
 * `HKDF-SHA256(initiator ‖ responder, salt from the cluster key, this protocol's id, 32 bytes)` and go on over the same
 * TCP socket in TLS 1.3 with that as pre-shared key. OpenSSL then does the bytes at a quarter of the CPU of Noise.
 */
import { hkdfSync, randomBytes } from 'node:crypto'
import { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Connection, ConnectionEncrypter, MessageStream, SecureConnectionOptions, SecuredConnection } from '@libp2p/interface'
import { type NoiseComponents, noise } from '@libp2p/noise'
import { AbstractMultiaddrConnection, byteStream } from '@libp2p/utils'
import { noisePrologue, tlsSalt } from './cluster-key.ts'
import type { Outflow } from './outflow.ts'
import { startTls, TlsStream } from './tls-stream.ts'

export const NOISE_TLS_PROTOCOL = '/layerswarm/noise-tls/1'
const SHARE_BYTES = 32

/** By the connection of the transport. */
const streams = new WeakMap<object, TlsStream>()

type EncrypterFactory = (components: NoiseComponents) => ConnectionEncrypter

/**
 * The ways to secure a connection, best first: both are safe, so a choice of either is no downgrade.
 * @param bulk false: Noise alone, for connections that carry little
 */
export function encrypters(clusterKey?: Uint8Array, bulk = true): EncrypterFactory[] {
  const bareNoise = noise(clusterKey === undefined ? {} : { prologueBytes: noisePrologue(clusterKey) })
  const plainNoise = (components: NoiseComponents) => new CorkedNoise(bareNoise(components))
  const salt = clusterKey === undefined ? new Uint8Array(0) : tlsSalt(clusterKey)
  return bulk ? [(components) => new NoiseTls(plainNoise(components), salt), plainNoise] : [plainNoise]
}

/** Noise that hands the length of each of its messages to the system together with the message. */
class CorkedNoise implements ConnectionEncrypter {
  readonly protocol: string
  readonly #noise: ConnectionEncrypter

  constructor(inner: ConnectionEncrypter) {
    this.protocol = inner.protocol
    this.#noise = inner
  }

  async secureOutbound(connection: MessageStream, options: SecureConnectionOptions = {}): Promise<SecuredConnection> {
    writeAtOnce(connection)
    return await this.#noise.secureOutbound(connection, options)
  }

  async secureInbound(connection: MessageStream, options: SecureConnectionOptions = {}): Promise<SecuredConnection> {
    writeAtOnce(connection)
    return await this.#noise.secureInbound(connection, options)
  }
}

/** libp2p's TCP transport gives the parts of a message to the system one by one, each a packet of its own. */
export function writeAtOnce(connection: MessageStream): void {
  if (!(connection instanceof AbstractMultiaddrConnection)) return
  const socket = socketOf(connection)
  const sendData = connection.sendData.bind(connection)
  connection.sendData = (data) => {
    socket.cork()
    try {
      return sendData(data)
    } finally {
      socket.uncork()
    }
  }
}

class NoiseTls implements ConnectionEncrypter {
  readonly protocol = NOISE_TLS_PROTOCOL
  readonly #noise: ConnectionEncrypter
  readonly #salt: Uint8Array

  constructor(inner: ConnectionEncrypter, salt: Uint8Array) {
    this.#noise = inner
    this.#salt = salt
  }

  async secureOutbound(connection: MessageStream, options: SecureConnectionOptions = {}): Promise<SecuredConnection> {
    const socket = socketOf(connection)
    const inner = await this.#noise.secureOutbound(connection, options)
    const bytes = byteStream(inner.connection)
    const mine = randomBytes(SHARE_BYTES)
    await bytes.write(mine, options)
    const theirs = (await bytes.read({ ...options, bytes: SHARE_BYTES })).subarray()
    bytes.unwrap()
    release(socket)
    const tls = await startTls(socket, 'client', this.#psk(mine, theirs), options.signal)
    return { ...inner, connection: continued(connection, tls, socket) }
  }

  async secureInbound(connection: MessageStream, options: SecureConnectionOptions = {}): Promise<SecuredConnection> {
    const socket = socketOf(connection)
    const inner = await this.#noise.secureInbound(connection, options)
    const bytes = byteStream(inner.connection)
    const theirs = (await bytes.read({ ...options, bytes: SHARE_BYTES })).subarray()
    bytes.unwrap()
    const mine = randomBytes(SHARE_BYTES)
    // The answer and the switch belong to one turn: the TLS hello can only follow this answer, so no byte of it is lost.
    inner.connection.send(mine)
    release(socket)
    const tls = await startTls(socket, 'server', this.#psk(theirs, mine), options.signal)
    return { ...inner, connection: continued(connection, tls, socket) }
  }

  #psk(initiator: Uint8Array, responder: Uint8Array): Uint8Array {
    const secret = Buffer.concat([initiator, responder])
    return new Uint8Array(hkdfSync('sha256', secret, this.#salt, NOISE_TLS_PROTOCOL, 32))
  }
}

/**
 * Resolves once nobody reads the memory of what was sent over `connection` so far any more. Never, where that cannot be
 * told: when it breaks first, or is encrypted by Noise alone.
 */
export async function released(connection: Connection): Promise<void> {
  await (streamOf(connection)?.released() ?? new Promise<never>(() => undefined))
}

/** What has become of what was sent over `connection`; undefined where it is encrypted by Noise alone. */
export function outflowOver(connection: Connection): Outflow | undefined {
  return streamOf(connection)?.outflow
}

/** libp2p's types do not tell of the transport's connection below its own. */
function streamOf(connection: Connection): TlsStream | undefined {
  const { maConn } = connection as { readonly maConn?: object }
  return maConn && streams.get(maConn)
}

/** The TCP transport's connections carry their socket; libp2p's types do not say so. */
function socketOf(connection: MessageStream): Socket {
  const socket = (connection as { socket?: unknown }).socket
  if (!(socket instanceof Socket)) throw new Error('the transport gives no access to its TCP socket')
  return socket
}

/** From here on the bytes are TLS's, and so is the watch for silence. */
function release(socket: Socket): void {
  socket.removeAllListeners('data')
  socket.removeAllListeners('drain')
  socket.setTimeout(0)
}

/** libp2p closes the connection it made, whose socket knows nothing of what TLS has still to send. */
function continued(connection: MessageStream, tls: TLSSocket, socket: Socket): TlsStream {
  const stream = new TlsStream(tls, socket, connection)
  streams.set(connection, stream)
  if (connection instanceof AbstractMultiaddrConnection) connection.sendClose = async (options) => await stream.close(options)
  return stream
}
