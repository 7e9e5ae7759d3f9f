import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MessageStream, StreamMuxer } from '@libp2p/interface'
import { watchLiveness } from '../../src/p2p/liveness.ts'
import type { Outflow } from '../../src/p2p/outflow.ts'
import { loopbackNode, nextEvent, proxy, streamPair } from './pair.ts'

const DEAD_AFTER_MS = 200

/** A connection that nothing is heard on. */
class SilentConnection extends EventTarget {
  readonly aborted = Promise.withResolvers<void>()
  readonly #outflow: (look: number) => Outflow
  looks = 0

  constructor(outflow: (look: number) => Outflow) {
    super()
    this.#outflow = outflow
  }

  get outflow(): Outflow {
    return this.#outflow(this.looks++)
  }

  abort(): void {
    this.aborted.resolve()
    this.dispatchEvent(new Event('close'))
  }
}

/** How often a connection has been looked at when it is given up. */
async function looksUntilDead(outflow: (look: number) => Outflow): Promise<number> {
  const connection = new SilentConnection(outflow)
  const muxer = { ping: async () => 0 } as unknown as StreamMuxer
  const factory = { protocol: '/test/1', createStreamMuxer: () => muxer } as unknown as Parameters<typeof watchLiveness>[0]
  // The watch itself does not keep the process alive.
  const alive = setInterval(() => undefined, 1000)
  watchLiveness(factory, DEAD_AFTER_MS).createStreamMuxer(connection as unknown as MessageStream)
  await connection.aborted.promise
  clearInterval(alive)
  return connection.looks
}

test('a connection that is silent while the other end takes what is sent lives, until it takes nothing more', {
  timeout: 30_000
}, async () => {
  const looks = await looksUntilDead((look) => ({ waiting: 1_000_000, taken: 1_000_000 * Math.min(look, 30) }))
  assert.ok(looks > 30 + 6, `it was given up at look ${looks}`)
})

test('what goes into a buffer that has room is no sign of life', { timeout: 30_000 }, async () => {
  await looksUntilDead((look) => ({ waiting: 0, taken: 1_000_000 * look }))
})

test('a slow link has time for what lies in the buffer that nobody can look into', async () => {
  const looks = await looksUntilDead((look) => ({ waiting: look < 20 ? 100_000 : 0, taken: 10_000 * Math.min(look, 20) }))
  assert.ok(looks > 20 + 24, `it was given up at look ${looks}`)
})

test('a connection whose other end has gone silent is found and closed', async () => {
  await using a = await loopbackNode({ deadAfterMs: 400 })
  await using b = await loopbackNode({ deadAfterMs: 400 })
  let silent = false
  await using between = await proxy(a, (chunk) => (silent ? undefined : chunk))
  await b.connect([between.address], { peer: a.id })
  const { opener } = await streamPair({ a, b })
  const { promise: ended, resolve } = Promise.withResolvers<unknown>()
  opener.start({ onMessage: () => undefined, onClose: resolve })
  const down = Promise.all([nextEvent(a, 'down'), nextEvent(b, 'down')])
  silent = true
  await down
  await ended
})

test('an idle connection between living hosts stays', async () => {
  await using a = await loopbackNode({ deadAfterMs: 200 })
  await using b = await loopbackNode({ deadAfterMs: 200 })
  let bytes = 0
  let idleAt = 0
  const { promise: pinged, resolve } = Promise.withResolvers<void>()
  await using between = await proxy(a, (chunk, seen) => {
    bytes = seen
    // Twenty answered pings are well beyond the time at which a silent connection is dead.
    if (idleAt > 0 && bytes > idleAt + 40 * 34) resolve()
    return chunk
  })
  await b.connect([between.address], { peer: a.id })
  await streamPair({ a, b })
  const down = Promise.race([nextEvent(a, 'down'), nextEvent(b, 'down')])
  idleAt = bytes
  assert.equal(await Promise.race([down, pinged.then(() => 'alive')]), 'alive')
})

test('a host that was held up itself takes nobody for dead', async () => {
  await using a = await loopbackNode({ deadAfterMs: 200 })
  await using b = await loopbackNode({ deadAfterMs: 200 })
  let resumedAt = Number.POSITIVE_INFINITY
  const { promise: alive, resolve } = Promise.withResolvers<void>()
  await using between = await proxy(a, (chunk) => {
    if (performance.now() > resumedAt + 200) resolve()
    return chunk
  })
  await b.connect([between.address], { peer: a.id })
  await streamPair({ a, b })
  const down = Promise.race([nextEvent(a, 'down'), nextEvent(b, 'down')])
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
  resumedAt = performance.now()
  assert.equal(await Promise.race([down, alive.then(() => 'alive')]), 'alive')
})

test('a connection that nobody uses for long is asked for signs of life less often, and may be silent for longer', async () => {
  const deadAfterMs = 300
  await using a = await loopbackNode({ deadAfterMs })
  await using b = await loopbackNode({ deadAfterMs })
  let last = Number.POSITIVE_INFINITY
  const { promise: rested, resolve } = Promise.withResolvers<void>()
  await using between = await proxy(a, (chunk) => {
    if (performance.now() - last > deadAfterMs) resolve()
    last = performance.now()
    return chunk
  })
  await b.connect([between.address], { peer: a.id })
  await streamPair({ a, b })
  const down = Promise.race([nextEvent(a, 'down'), nextEvent(b, 'down')])
  assert.equal(await Promise.race([down, rested.then(() => 'alive')]), 'alive')
})
