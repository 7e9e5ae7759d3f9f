import type { MessageStream, StreamMuxerFactory } from '@libp2p/interface'
import type { yamux } from '@libp2p/yamux'

/** How often a connection is looked at, ms: one comparison, a dozen connections a host. */
const LOOK_MS = 1000
/** Silence after which the other end is asked for a sign of life, ms. A busy or chatting connection is never asked. */
const ASK_AFTER_MS = 3000
/** Silence after which a connection is dead, ms. Any byte counts, so a slow or saturated link is not mistaken for a dead one. */
const DEAD_AFTER_MS = 8000
/** The round trip decides how the receive window grows; routes change. */
const MEASURE_EVERY_MS = 30_000

type MuxerFactory = ReturnType<ReturnType<typeof yamux>>

/**
 * Finds connections whose other end is gone without a word (power cut, cable, frozen process) within ten seconds; TCP
 * alone takes a quarter of an hour while data is unacknowledged. The muxer's own keep-alive only logs a failure.
 */
export function watchLiveness(factory: MuxerFactory): StreamMuxerFactory {
  return {
    protocol: factory.protocol,
    createStreamMuxer: (connection) => {
      const muxer = factory.createStreamMuxer(connection)
      // Without a limit of its own: a late answer to a ping given up would count as a protocol error.
      const ping = () => void muxer.ping().catch(() => undefined)
      watch(connection, ping)
      return muxer
    }
  }
}

function watch(connection: MessageStream, ping: () => void): void {
  let heardAt = performance.now()
  let measuredAt = heardAt
  const onMessage = () => {
    heardAt = performance.now()
  }
  const timer = setInterval(() => {
    const now = performance.now()
    const silence = now - heardAt
    if (silence >= DEAD_AFTER_MS) connection.abort(new Error(`nothing heard for ${Math.round(silence)} ms`))
    else if (silence >= ASK_AFTER_MS || now - measuredAt >= MEASURE_EVERY_MS) {
      measuredAt = now
      ping()
    }
  }, LOOK_MS)
  timer.unref()
  connection.addEventListener('message', onMessage)
  connection.addEventListener('close', () => clearInterval(timer), { once: true })
  queueMicrotask(ping)
}
