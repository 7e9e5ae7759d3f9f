import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { RateLimiter } from '@layerswarm/core/rate-limiter.ts'
import { type FixtureBlob, fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { type Host, host } from './fleet.ts'

const PIECE = 256 * 1024
const RATE = 1_000_000
const blob = fixtureBlob(16 * PIECE)

/** A host whose downloads are limited, by a clock of its own, and a number of hosts that have blobs. */
async function limited(stack: AsyncDisposableStack, servers: number, ...blobs: readonly FixtureBlob[]) {
  const clock = new ManualClock()
  const download = new RateLimiter({ clock }, { bytesPerSecond: RATE })
  const us = stack.use(await host({ limits: { download } }))
  const them: Host[] = []
  let sent = 0
  const metrics = { sent: (bytes: number) => (sent += bytes), connected: () => undefined }
  for (let i = 0; i < servers; i++) {
    const server = stack.use(await host({ metrics }))
    for (const { digest, layout, bytes } of blobs) await server.store.add(digest, layout, bytes)
    await us.network.connect(server.address)
    them.push(server)
  }
  const passed: { at: number; bytes: number }[] = []
  /** Fetches pieces of a blob, and tells what of it was right. */
  const fetch = async (
    from: number,
    of: FixtureBlob,
    first: number,
    count: number,
    options: { pull?: string; signal?: AbortSignal } = {}
  ) => {
    const server = them[from]
    assert.ok(server)
    const source = us.network.source(server.node.id, of.digest, of.layout)
    const onProgress = (bytes: number) => passed.push({ at: clock.now(), bytes })
    let pieces = 0
    for await (const { piece, bytes } of source.fetch({ first, count }, { onProgress, ...options })) {
      assert.ok(Buffer.from(bytes).equals(of.piece(piece)), `piece ${piece} is as it was sent`)
      pieces++
    }
    return pieces
  }
  const bytesIn = (from: number, ms: number) => passed.reduce((sum, { at, bytes }) => sum + (at >= from && at < from + ms ? bytes : 0), 0)
  return { clock, download, fetch, bytesIn, sent: () => sent }
}

test('what comes from several peers at once keeps to the limit, evenly, and whole', async () => {
  await using stack = new AsyncDisposableStack()
  const { clock, fetch, bytesIn } = await limited(stack, 3, blob)
  const pieces = await clock.runUntil(Promise.all([fetch(0, blob, 0, 6), fetch(1, blob, 6, 5), fetch(2, blob, 11, 5)]))
  assert.deepEqual(pieces, [6, 5, 5])
  assert.ok(clock.now() >= (blob.bytes.byteLength / RATE) * 950, `all was here after ${clock.now()} ms`)
  for (let from = 0; from <= 2800; from += 200) {
    const second = bytesIn(from, 1000)
    assert.ok(second <= RATE * 1.05 && second >= RATE * 0.95, `${second} bytes in the second from ${from} ms`)
  }
})

test('no piece is handed out before the limit has let it pass', async () => {
  await using stack = new AsyncDisposableStack()
  const { clock, fetch } = await limited(stack, 2, blob)
  for (const [server, first] of [
    [0, 0],
    [1, 4]
  ] as const) {
    const before = clock.now()
    await clock.runUntil(fetch(server, blob, first, 2))
    assert.ok(clock.now() - before >= ((2 * PIECE) / RATE) * 1000 - 50, `two pieces within ${clock.now() - before} ms`)
  }
})

test('images share the limit alike, however many peers each comes from', async () => {
  await using stack = new AsyncDisposableStack()
  const other = fixtureBlob(3 * PIECE, { seed: 2 })
  const { clock, fetch, bytesIn } = await limited(stack, 4, blob, other)
  const large = Promise.all([0, 1, 2].map((from) => fetch(from, blob, 5 * from, 5, { pull: 'large' })))
  await clock.runUntil(fetch(3, other, 0, 3, { pull: 'small' }))
  const share = (3 * PIECE) / bytesIn(0, clock.now() + 1)
  assert.ok(share > 0.45 && share < 0.55, `the smaller one got ${share} of all while it was fetched`)
  await clock.runUntil(large)
})

test('a peer sends little more than what may pass', async () => {
  await using stack = new AsyncDisposableStack()
  const big = fixtureBlob(64 * PIECE)
  const { clock, fetch, sent, bytesIn } = await limited(stack, 1, big)
  const stop = new AbortController()
  const fetching = fetch(0, big, 0, 64, { signal: stop.signal })
  await clock.advance(3000)
  const ahead = sent() - bytesIn(0, 3001)
  assert.ok(ahead < 3 * 1024 * 1024, `${ahead} bytes ahead of the limit`)
  stop.abort(new Error('enough'))
  await assert.rejects(fetching, /enough/)
})

test('a fetch that waits for the limit ends when it is aborted, and others go on', async () => {
  await using stack = new AsyncDisposableStack()
  const { clock, download, fetch } = await limited(stack, 1, blob)
  download.charge(RATE)
  const stop = new AbortController()
  const unwanted = fetch(0, blob, 0, 1, { signal: stop.signal })
  const wanted = fetch(0, blob, 1, 2)
  while (clock.sleeping === 0) await turn()
  const reason = new Error('not wanted')
  stop.abort(reason)
  await assert.rejects(unwanted, reason)
  assert.equal(await clock.runUntil(wanted), 2)
})

test('a peer that goes while its bytes wait for the limit fails what was asked of it, and keeps no timer', async () => {
  const stack = new AsyncDisposableStack()
  const { clock, download, fetch } = await limited(stack, 1, blob)
  download.charge(RATE)
  const fetching = fetch(0, blob, 0, 1)
  while (clock.sleeping === 0) await turn()
  await Promise.all([assert.rejects(fetching), stack.disposeAsync()])
  assert.equal(clock.sleeping, 0)
})
