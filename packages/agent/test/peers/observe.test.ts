import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Claim, encodeClaim, signClaim } from '@layerswarm/core/claims.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { COMMON_BATCH_MS, HAVE_BATCH_MS } from '../../src/peers/have-batches.ts'
import type { Availability, PartialBlob, PieceSource } from '../../src/ports.ts'
import { type Host, host, nextEvent, watchUntil } from './fleet.ts'

const PIECE = 256 * 1024
const blob = fixtureBlob(20 * PIECE + 1)
const { digest, layout } = blob

/** News one by one; what came between two looks is merged, as the scheduler sees it. */
function follow(source: PieceSource): { next: () => Promise<Availability>; stop: () => Promise<unknown> } {
  const news = source.available()[Symbol.asyncIterator]()
  return {
    next: async () => {
      const { value, done } = await news.next()
      assert.ok(done !== true)
      return value
    },
    stop: async () => await news.return?.()
  }
}

const hex = (claims: readonly Uint8Array[] | undefined) => claims?.map((claim) => Buffer.from(claim).toString('hex'))
const listed = ({ pieces }: Availability) => [...pieces]

async function pair(
  clock = new ManualClock(),
  isCommon = (_: number) => false
): Promise<{ us: Host; them: Host; clock: ManualClock } & AsyncDisposable> {
  const stack = new AsyncDisposableStack()
  const us = stack.use(await host({ clock, isCommon: (_, piece) => isCommon(piece) }))
  const them = stack.use(await host())
  await them.network.connect(us.address)
  return { us, them, clock, [Symbol.asyncDispose]: async () => await stack.disposeAsync() }
}

async function put(partial: PartialBlob, ...pieces: number[]): Promise<void> {
  for (const piece of pieces) await partial.write(piece, blob.piece(piece))
}

let fences = 0

/** News of one connection come in order: whatever was sent before has arrived when this returns. */
async function fence({ us, them }: { us: Host; them: Host }): Promise<void> {
  const other = fixtureBlob(1, { seed: `fence ${fences++}` })
  await watchUntil(them.network.source(us.node.id, other.digest, other.layout), () => true)
}

test('a complete blob is told in full, with its map where that is wanted', async () => {
  await using both = await pair()
  await both.us.store.add(digest, layout, blob.bytes)
  const watched = nextEvent(both.us.network, 'watched')
  const source = both.them.network.source(both.us.node.id, digest, layout, { wantMap: true })
  const news = await watchUntil(source, ({ map }) => map !== undefined)
  assert.equal(news.flatMap(listed).length, layout.pieces)
  assert.ok(Buffer.from(blob.map).equals(news.at(-1)?.map ?? new Uint8Array(0)))
  assert.deepEqual(await watched, { type: 'watched', peer: both.them.node.id, blob: digest, size: layout.size })
  const plain = follow(both.them.network.source(both.us.node.id, digest, layout))
  assert.equal((await plain.next()).map, undefined)
  await plain.stop()
})

test('pieces are told as they land: the first at once, those that follow gathered for 20 ms', async () => {
  await using both = await pair()
  await using partial = await both.us.store.begin(digest, layout)
  await put(partial, 7)
  const { next, stop } = follow(both.them.network.source(both.us.node.id, digest, layout))
  assert.deepEqual(listed(await next()), [7])
  await put(partial, 0)
  assert.deepEqual(listed(await next()), [0])
  const batch = next()
  await put(partial, 3, 1, 2)
  await fence(both)
  await both.clock.advance(HAVE_BATCH_MS - 1)
  await fence(both)
  let early = true
  const told = batch.then((news) => {
    assert.equal(early, false)
    return listed(news)
  })
  await fence(both)
  early = false
  await both.clock.advance(1)
  assert.deepEqual(await told, [3, 1, 2])
  await both.clock.advance(HAVE_BATCH_MS)
  await put(partial, 9)
  assert.deepEqual(listed(await next()), [9])
  await stop()
})

test('pieces that several neighbours have are told later, and with the next that few have', async () => {
  const common = new Set([1, 2])
  await using both = await pair(new ManualClock(), (piece) => common.has(piece))
  await using partial = await both.us.store.begin(digest, layout)
  await put(partial, 0)
  const { next, stop } = follow(both.them.network.source(both.us.node.id, digest, layout))
  assert.deepEqual(listed(await next()), [0])
  await put(partial, 3)
  assert.deepEqual(listed(await next()), [3])
  const told = next()
  let early = true
  void told.then(() => assert.equal(early, false))
  await put(partial, 1)
  await fence(both)
  await both.clock.advance(COMMON_BATCH_MS - 1)
  await fence(both)
  early = false
  await both.clock.advance(1)
  assert.deepEqual(listed(await told), [1])
  await put(partial, 2, 4)
  await fence(both)
  await both.clock.advance(HAVE_BATCH_MS)
  assert.deepEqual(listed(await next()), [2, 4])
  await stop()
})

test('a blob that begins to arrive after it was watched is told, to its end, and its map then', async () => {
  await using both = await pair()
  const { next, stop } = follow(both.them.network.source(both.us.node.id, digest, layout, { wantMap: true }))
  assert.deepEqual(listed(await next()), [])
  await using partial = await both.us.store.begin(digest, layout)
  await put(partial, ...Array(layout.pieces).keys())
  await partial.commit()
  const seen = new Set<number>()
  let map: Uint8Array | undefined
  const all = (async () => {
    while (seen.size < layout.pieces || map === undefined) {
      const news = await next()
      for (const piece of news.pieces) seen.add(piece)
      map ??= news.map
    }
  })()
  await both.clock.runUntil(all)
  assert.ok(Buffer.from(blob.map).equals(map ?? new Uint8Array(0)))
  await stop()
})

test('a blob that begins with nothing of it here is no news', async () => {
  await using both = await pair()
  const { next, stop } = follow(both.them.network.source(both.us.node.id, digest, layout))
  assert.deepEqual(listed(await next()), [])
  const told = next()
  await using partial = await both.us.store.begin(digest, layout)
  await fence(both)
  await fence(both)
  await put(partial, 5)
  assert.deepEqual(listed(await told), [5])
  await stop()
})

test('a blob that appears whole after it was watched is told', async () => {
  await using both = await pair()
  const { next, stop } = follow(both.them.network.source(both.us.node.id, digest, layout))
  await next()
  await both.us.store.add(digest, layout, blob.bytes)
  const seen = new Set<number>()
  while (seen.size < layout.pieces) for (const piece of (await both.clock.runUntil(next())).pieces) seen.add(piece)
  await stop()
})

test('what is evicted, or no longer fetched, is gone for those who watch', async () => {
  await using both = await pair()
  await both.us.store.add(digest, layout, blob.bytes)
  const whole = follow(both.them.network.source(both.us.node.id, digest, layout))
  assert.equal(listed(await whole.next()).length, layout.pieces)
  await fence(both)
  assert.equal(await both.us.store.delete(digest), true)
  assert.equal((await whole.next()).gone, true)
  await whole.stop()

  const other = fixtureBlob(3 * PIECE, { seed: 3 })
  const partial = await both.us.store.begin(other.digest, other.layout)
  await partial.write(0, other.piece(0))
  const { next, stop } = follow(both.them.network.source(both.us.node.id, other.digest, other.layout))
  assert.deepEqual(listed(await next()), [0])
  await partial[Symbol.asyncDispose]()
  assert.equal((await next()).gone, true)
  await using again = await both.us.store.begin(other.digest, other.layout)
  assert.deepEqual(listed(await next()), [0])
  await again.write(1, other.piece(1))
  assert.deepEqual(listed(await both.clock.runUntil(next())), [1])
  await stop()
})

test('claims go before the haves they vouch for, and as they came', async () => {
  await using both = await pair()
  const author = await newIdentity()
  const claim = async (piece: number): Promise<Claim> =>
    await signClaim(author.key, { blob: digest, first: piece, hashes: blob.hash(piece), author: author.id })
  const claims = [await claim(0), await claim(1)]
  await using partial = await both.us.store.begin(digest, layout)
  partial.addClaims(claims.slice(0, 1))
  await put(partial, 0)
  const { next, stop } = follow(both.them.network.source(both.us.node.id, digest, layout))
  const first = await next()
  assert.deepEqual(hex(first.claims), hex(claims.slice(0, 1).map(encodeClaim)))
  // Claim and state are two messages: the second may come with the first, never before it.
  const seen = new Set(first.pieces)
  while (!seen.has(0)) for (const piece of (await next()).pieces) seen.add(piece)
  partial.addClaims(claims.slice(1))
  await put(partial, 1)
  const told: Uint8Array[] = []
  while (!seen.has(1)) {
    const news = await both.clock.runUntil(next())
    told.push(...(news.claims ?? []))
    for (const piece of news.pieces) seen.add(piece)
  }
  assert.deepEqual(hex(told), hex(claims.slice(1).map(encodeClaim)))
  await stop()
})

test('a blob of another size under the same digest is no blob here: nothing of it is told', async () => {
  await using both = await pair()
  await both.us.store.add(digest, layout, blob.bytes)
  const other = fixtureBlob(layout.size - 1).layout
  const [news] = await watchUntil(both.them.network.source(both.us.node.id, digest, other), () => true)
  assert.deepEqual(news && listed(news), [])
})

test('a watch ends with the connection', async () => {
  await using both = await pair()
  const { next, stop } = follow(both.them.network.source(both.us.node.id, digest, layout))
  await next()
  const ended = assert.rejects(next())
  const down = nextEvent(both.us.network, 'down')
  await both.them.node[Symbol.asyncDispose]()
  await ended
  assert.deepEqual(await down, { type: 'down', peer: both.them.node.id })
  await stop()
})

test('both ends know each other as neighbours, whoever connected; a host without the protocols is none', async () => {
  const us = await host()
  await using them = await host()
  const up = nextEvent(us.network, 'up')
  await them.network.connect(us.address)
  assert.deepEqual(await up, { type: 'up', peer: them.node.id })
  assert.deepEqual(us.network.connected(), [them.node.id])
  assert.deepEqual(them.network.connected(), [us.node.id])
  const down = nextEvent(them.network, 'down')
  await us[Symbol.asyncDispose]()
  await down
  assert.deepEqual(them.network.connected(), [])
})
