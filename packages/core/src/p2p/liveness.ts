import type { MessageStream, StreamMessageEvent, StreamMuxerFactory } from '@libp2p/interface'
import { type Outflow, takenBetween } from './outflow.ts'
import type { MuxerFactory } from './window-updates.ts'

/**
 * Silence after which a connection is dead, ms. Any byte counts that comes, or that the other end takes, so a slow or
 * saturated link is not mistaken for a dead one: who receives says nothing until all of a frame is there.
 */
export const DEAD_AFTER_MS = 8000
/**
 * A connection that has carried nothing but signs of life for so many times the silence that counts as death rests: it is
 * asked for them less often by this factor, and may be silent for longer. Nobody waits for anything of it, and a tracker
 * has thousands of them.
 */
const RESTS_AFTER = 8
const RESTING = 4
/**
 * A link that takes less than so many bytes between two looks, and has more to take, is slow: what lies in the operating system's own buffer,
 * which nobody can look into, takes it longer than the silence that counts as death. It is given as long as one that rests.
 */
const SLOW_BYTES = 128 * 1024
/** Nothing but a sign of life, bytes: a frame of the muxer without payload takes twelve. */
const SIGN_BYTES = 24
/** The connection is looked at so often until then: one comparison. */
const LOOKS = 8
/** At this look of silence, and at each later one, the other end is asked for a sign of life; a busy connection never is. */
const ASK_AT_LOOK = 3
/** A look that comes later than so many others would have is late by this process's own fault. */
const HELD_UP_LOOKS = 3
/** The round trip decides how the receive window grows; routes change. */
const MEASURE_EVERY_MS = 30_000

/**
 * Finds connections whose other end is gone without a word (power cut, cable, frozen process) within ten seconds, forty
 * where nothing was said for a minute or the link is slow; TCP alone takes a quarter of an hour while data is unacknowledged. The muxer's own
 * keep-alive only logs a failure.
 */
export function watchLiveness(factory: MuxerFactory, deadAfterMs = DEAD_AFTER_MS): StreamMuxerFactory {
  return {
    protocol: factory.protocol,
    createStreamMuxer: (connection) => {
      const muxer = factory.createStreamMuxer(connection)
      // Without a limit of its own: a late answer to a ping given up would count as a protocol error.
      const ping = () => void muxer.ping().catch(() => undefined)
      watch(connection, ping, deadAfterMs)
      return muxer
    }
  }
}

function watch(connection: MessageStream, ping: () => void, deadAfterMs: number): void {
  let heardAt = performance.now()
  let measuredAt = heardAt
  let busyAt = heardAt
  let lookedAt = heardAt
  let slowAt = Number.NEGATIVE_INFINITY
  let sent = outflowOn(connection)
  const lookMs = deadAfterMs / LOOKS
  const onMessage = ({ data }: StreamMessageEvent) => {
    heardAt = performance.now()
    if (data.byteLength > SIGN_BYTES) busyAt = heardAt
  }
  const timer = setInterval(() => {
    const now = performance.now()
    // What came while this process was held up has yet to be read: the silence is its own.
    if (now - lookedAt > HELD_UP_LOOKS * lookMs) heardAt = now
    lookedAt = now
    const before = sent
    sent = outflowOn(connection)
    const taken = takenBetween(before, sent)
    if (taken > 0) heardAt = now
    if (taken > 0 && taken < SLOW_BYTES && sent?.waiting !== 0) slowAt = now
    const long = RESTS_AFTER * deadAfterMs
    const patience = now - busyAt >= long || now - slowAt < long ? RESTING : 1
    const silence = now - heardAt
    if (silence >= deadAfterMs * patience) connection.abort(new Error(`nothing heard for ${Math.round(silence)} ms`))
    else if (silence >= lookMs * ASK_AT_LOOK * patience || now - measuredAt >= MEASURE_EVERY_MS * patience) {
      measuredAt = now
      ping()
    }
  }, lookMs)
  timer.unref()
  connection.addEventListener('message', onMessage)
  connection.addEventListener('close', () => clearInterval(timer), { once: true })
  queueMicrotask(ping)
}

function outflowOn(connection: MessageStream): Outflow | undefined {
  const { outflow } = connection as { readonly outflow?: Outflow }
  return outflow
}
