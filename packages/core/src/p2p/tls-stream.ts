import type { Socket } from 'node:net'
import { createSecureContext, TLSSocket, type TLSSocketOptions, type TlsOptions, connect as tlsConnect } from 'node:tls'
import type { AbortOptions, MessageStream } from '@libp2p/interface'
import { AbstractMessageStream, type SendResult } from '@libp2p/utils'
import { Uint8ArrayList } from 'uint8arraylist'
import { type Outflow, outflowOf } from './outflow.ts'

const VERSION = 'TLSv1.3'
/** PSK callbacks allow suites with SHA-256 only. ChaCha20 is for hosts without AES instructions, at 1.5 times the CPU. */
const CIPHERS = ['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256']
const TLS_OPTIONS = { minVersion: VERSION, maxVersion: VERSION, ciphers: CIPHERS.join(':') } as const
const serverContext = createSecureContext(TLS_OPTIONS)
/** There is one key a connection, so its name says nothing. */
const PSK_IDENTITY = 'ls'

/**
 * Continues `socket` in TLS 1.3 with `psk`, which only the other end knows, combined with a fresh key exchange: forward
 * secrecy, no certificates, no resumption. Rejects when the other end has another key, or `signal` fires.
 */
export async function startTls(socket: Socket, role: 'client' | 'server', psk: Uint8Array, signal?: AbortSignal): Promise<TLSSocket> {
  const tls =
    role === 'client'
      ? tlsConnect({
          socket,
          ...TLS_OPTIONS,
          pskCallback: () => ({ psk, identity: PSK_IDENTITY }),
          // The key proves the other end, and that it was used is looked at below.
          checkServerIdentity: () => undefined
        })
      : new TLSSocket(socket, serverOptions(psk))
  try {
    await established(tls, role === 'client' ? 'secureConnect' : 'secure', signal)
    const cipher = tls.getCipher().standardName
    if (tls.getProtocol() !== VERSION || !CIPHERS.includes(cipher)) throw new Error(`unexpected ${tls.getProtocol()} ${cipher}`)
    // A server may set the key aside and show a certificate: whoever stands in between can have one that is trusted.
    if (!tls.isSessionReused()) throw new Error('TLS without the key')
    return tls
  } catch (error) {
    tls.destroy()
    socket.destroy()
    throw error
  }
}

/** Node's types know the callback for servers only, not for single sockets. */
function serverOptions(psk: Uint8Array): TLSSocketOptions & Pick<TlsOptions, 'pskCallback'> {
  return { isServer: true, secureContext: serverContext, ...TLS_OPTIONS, pskCallback: () => psk }
}

async function established(tls: TLSSocket, event: 'secure' | 'secureConnect', signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onClose = () => reject(new Error('the connection closed during the TLS handshake'))
  const onAbort = () => reject(signal?.reason)
  // A failed handshake of a server socket is told by this undocumented event alone; `close` follows in any case.
  tls.once('_tlsError', reject)
  tls.once('error', reject)
  tls.once('close', onClose)
  tls.once(event, resolve)
  signal?.addEventListener('abort', onAbort)
  try {
    await promise
  } finally {
    signal?.removeEventListener('abort', onAbort)
    tls.off(event, resolve)
    tls.off('close', onClose)
    tls.off('_tlsError', reject)
    // An error after this one must not be fatal to the process before the stream listens.
    tls.on('error', () => undefined)
    tls.off('error', reject)
  }
}

/** A TLS socket as libp2p sees connections. */
export class TlsStream extends AbstractMessageStream {
  readonly #tls: TLSSocket
  readonly #socket: Socket
  /** Bytes handed to the socket so far, and how many of them it has taken: encrypted, and thereby copied. */
  #handed = 0
  #gathering = false
  #arrived = new Uint8ArrayList()
  #passing = false
  #taken = 0
  readonly #untaken: { readonly until: number; readonly resolve: () => void }[] = []

  /** @param socket what `tls` runs over */
  constructor(tls: TLSSocket, socket: Socket, outer: MessageStream) {
    super({ log: outer.log.newScope('tls'), direction: outer.direction, maxReadBufferLength: outer.maxReadBufferLength })
    this.#tls = tls
    this.#socket = socket
    tls.on('data', (chunk) => this.#take(chunk))
    tls.on('drain', () => this.safeDispatchEvent('drain'))
    tls.on('error', (error) => this.abort(error))
    tls.on('_tlsError', (error) => this.abort(error))
    tls.once('end', () => this.#onEnd())
    tls.once('close', () => this.#onEnd())
    if (tls.destroyed) this.onTransportClosed()
  }

  /** What has become of the encrypted bytes. */
  get outflow(): Outflow {
    return outflowOf(this.#socket)
  }

  /** TLS brings records of at most 16 KiB, one at a time: those of one turn are passed on together. */
  #take(chunk: Uint8Array): void {
    this.#arrived.append(chunk)
    if (this.#passing) return
    this.#passing = true
    setImmediate(() => this.#pass())
  }

  #pass(): void {
    this.#passing = false
    const arrived = this.#arrived
    this.#arrived = new Uint8ArrayList()
    if (arrived.byteLength > 0) this.onData(arrived)
  }

  #onEnd(): void {
    this.#pass()
    this.onTransportClosed()
  }

  /** Every part goes down before the socket says it is full: stopping at the first `false` would mean one small write a turn. */
  override sendData(data: Iterable<Uint8Array>): SendResult {
    let sentBytes = 0
    let canSendMore = true
    this.#gather()
    for (const part of data) {
      sentBytes += part.byteLength
      this.#handed += part.byteLength
      const until = this.#handed
      canSendMore = this.#tls.write(part, (error) => !error && this.#onTaken(until))
    }
    return { sentBytes, canSendMore }
  }

  /** What is sent until the end of this turn goes down as one write: a record and a packet fewer for each short message. */
  #gather(): void {
    if (this.#gathering) return
    this.#gathering = true
    this.#tls.cork()
    setImmediate(() => {
      this.#gathering = false
      this.#tls.uncork()
    })
  }

  /** Resolves once nobody reads the memory of what was sent so far any more; never, when the connection breaks first. */
  async released(): Promise<void> {
    const until = this.#handed + this.writeBufferLength
    if (this.#taken < until) await new Promise<void>((resolve) => this.#untaken.push({ until, resolve }))
  }

  #onTaken(until: number): void {
    this.#taken = until
    while (this.#untaken[0] !== undefined && this.#untaken[0].until <= until) this.#untaken.shift()?.resolve()
  }

  override sendReset(): void {
    this.#tls.destroy()
  }

  override sendPause(): void {
    this.#tls.pause()
  }

  override sendResume(): void {
    this.#tls.resume()
  }

  /** Sends what is queued before it ends, unless `signal` fires first. */
  override async close(options: AbortOptions = {}): Promise<void> {
    if (this.#tls.destroyed) return
    const { signal } = options
    const giveUp = () => this.#tls.destroy()
    const closed = new Promise((resolve) => this.#tls.once('close', resolve))
    signal?.addEventListener('abort', giveUp)
    if (signal?.aborted) giveUp()
    const idle = new Promise((resolve) => this.addEventListener('idle', resolve, { once: true }))
    if (this.writeBufferLength > 0) await Promise.race([idle, closed])
    this.#tls.destroySoon()
    await closed
    signal?.removeEventListener('abort', giveUp)
  }
}
