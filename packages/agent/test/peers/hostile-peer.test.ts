import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { decodeClaim, verifyClaim } from '@layerswarm/core/claims.ts'
import { type ErrorCode, isLayerswarmError } from '@layerswarm/core/errors.ts'
import { GET_PROTOCOL, OBSERVE_PROTOCOL } from '@layerswarm/core/wire/peer-protocol.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { type Lie, LyingPeer } from '@layerswarm/testkit/lying-peer.ts'
import { fetchAll, host, nextEvent, watchUntil } from './fleet.ts'

const blob = fixtureBlob(5 * 256 * 1024 + 77)
const { digest, layout } = blob

const is = (code: ErrorCode) => (error: unknown) => isLayerswarmError(error, code)

test('an honest one is believed: the lies below are what makes the difference', async () => {
  await using liar = await LyingPeer.start({ blobs: [blob] })
  await using us = await host()
  await us.network.connect(liar.address)
  const source = us.network.source(liar.id, digest, layout)
  const [news] = await watchUntil(source, () => true)
  assert.equal(news?.pieces instanceof Object && [...news.pieces].length, layout.pieces)
  assert.ok((await fetchAll(source, layout.pieces)).equals(blob.bytes))
})

test('answers that break the protocol fail the request and close the connection', async () => {
  for (const lie of ['wrong-length', 'unasked', 'oversize', 'garbage'] satisfies Lie[]) {
    await using liar = await LyingPeer.start({ blobs: [blob], lie })
    await using us = await host()
    await us.network.connect(liar.address)
    const down = nextEvent(us.network, 'down')
    await assert.rejects(fetchAll(us.network.source(liar.id, digest, layout), layout.pieces), is('PEER_PROTOCOL'), lie)
    assert.deepEqual(await down, { type: 'down', peer: liar.id })
    assert.deepEqual(us.network.connected(), [])
  }
})

test('news that cannot be true ends the watch and closes the connection', async () => {
  for (const lie of ['bad-have', 'bad-bits', 'oversize', 'garbage'] satisfies Lie[]) {
    await using liar = await LyingPeer.start({ blobs: [blob], lie })
    await using us = await host()
    await us.network.connect(liar.address)
    const down = nextEvent(us.network, 'down')
    const watching = watchUntil(us.network.source(liar.id, digest, layout), () => false)
    await assert.rejects(watching, is('PEER_PROTOCOL'), lie)
    await down
  }
})

test('wrong bytes are handed on unjudged: they are verified where they are written', async () => {
  await using liar = await LyingPeer.start({ blobs: [blob], lie: 'wrong-bytes' })
  await using us = await host()
  await us.network.connect(liar.address)
  await using partial = await us.store.begin(digest, layout)
  for await (const { piece, bytes } of us.network.source(liar.id, digest, layout).fetch({ first: 0, count: 2 }))
    await assert.rejects(partial.write(piece, bytes, [blob.hash(piece)]), is('PIECE_MISMATCH'))
})

test('a piece that is claimed and not there costs its sender that holding, not the connection', async () => {
  await using liar = await LyingPeer.start({ blobs: [blob], lie: 'over-claim' })
  await using us = await host()
  await us.network.connect(liar.address)
  await assert.rejects(fetchAll(us.network.source(liar.id, digest, layout), 1), is('PEER_GONE'))
  assert.deepEqual(us.network.connected(), [liar.id])
})

test('claims are passed on as they came, false ones too, with an author to blame', async () => {
  await using liar = await LyingPeer.start({ blobs: [blob], lie: 'false-claim' })
  await using us = await host()
  await us.network.connect(liar.address)
  const news = await watchUntil(us.network.source(liar.id, digest, layout), (_, all) => all.some(({ pieces }) => [...pieces].length > 0))
  const claims = news.flatMap((one) => one.claims ?? []).map(decodeClaim)
  assert.deepEqual(
    claims.map(({ first, author }) => [first, author]),
    Array.from({ length: layout.pieces }, (_, piece) => [piece, liar.id])
  )
  for (const claim of claims) assert.ok(verifyClaim(claim))
})

test('of endless claims only as many are kept as a blob can have', async () => {
  await using liar = await LyingPeer.start({ blobs: [blob], lie: 'false-claim' })
  await using us = await host()
  await us.network.connect(liar.address)
  const source = us.network.source(liar.id, digest, layout)
  let claims = 0
  let news = 0
  const first = source.available()[Symbol.asyncIterator]()
  const count = async (): Promise<void> => {
    const { value } = await first.next()
    claims += value?.claims?.length ?? 0
    news++
  }
  await count()
  // Each watch of the same stream brings all claims again, to everybody who watches.
  for (let again = 0; again < 30; again++) {
    await watchUntil(source, (_, all) => all.some(({ pieces }) => [...pieces].length > 0))
    await count()
  }
  await first.return?.()
  assert.equal(news, 31)
  assert.ok(claims <= 64, `${claims} claims on a blob of one run`)
})

test('a request stuck in the middle of its piece is aborted by a reset, and those behind it are served', async () => {
  await using liar = await LyingPeer.start({ blobs: [blob], lie: 'stall' })
  await using us = await host()
  await us.network.connect(liar.address)
  const source = us.network.source(liar.id, digest, layout)
  const stuck = new AbortController()
  const half = once(liar.events, 'half')
  const first = fetchAll(source, 1, stuck.signal)
  await half
  const behind = Array.fromAsync(source.fetch({ first: 3, count: 1 }), ({ bytes }) => Buffer.from(bytes))
  await once(liar.events, 'get')
  liar.lie = 'none'
  const reason = new Error('given up')
  stuck.abort(reason)
  await assert.rejects(first, reason)
  assert.ok((await behind)[0]?.equals(blob.piece(3)))
  assert.equal(liar.streams, 2)
  assert.deepEqual(liar.asked, [0, 3, 3])
  assert.deepEqual(us.network.connected(), [liar.id])
})

test('a banned peer is cut off, its requests fail, and it is refused from then on', async () => {
  await using liar = await LyingPeer.start({ blobs: [blob], lie: 'stall' })
  await using us = await host()
  await us.network.connect(liar.address)
  const half = once(liar.events, 'half')
  const fetching = assert.rejects(fetchAll(us.network.source(liar.id, digest, layout), 1), is('PEER_UNREACHABLE'))
  await half
  us.network.ban(liar.id, 'sent false bytes')
  await fetching
  await assert.rejects(us.network.connect(liar.address), is('PEER_UNREACHABLE'))
  await assert.rejects(fetchAll(us.network.source(liar.id, digest, layout), 1), is('PEER_UNREACHABLE'))
})

test('openers that break the protocol are cut off, and the host goes on serving', async () => {
  await using us = await host()
  await us.store.add(digest, layout, blob.bytes)
  const watch = { t: 'watch', blob: digest, size: layout.size }
  const get = { t: 'get', id: 1, blob: digest, piece: 0, received: 0, elapsed: 0 }
  const breaches: [string, object[]][] = [
    [OBSERVE_PROTOCOL, [{ t: 'have' }]],
    [OBSERVE_PROTOCOL, [{ ...watch, blob: 'sha256:../../etc/passwd' }]],
    [OBSERVE_PROTOCOL, [{ ...watch, size: -1 }]],
    [GET_PROTOCOL, [{ ...get, piece: 1.5 }]],
    [GET_PROTOCOL, [{ ...get, blob: 'x'.repeat(5000) }]],
    [GET_PROTOCOL, Array.from({ length: 3 }, () => get)],
    [GET_PROTOCOL, Array.from({ length: 70 }, (_, id) => ({ ...get, id }))]
  ]
  for (const [protocol, messages] of breaches) {
    await using other = await LyingPeer.start({ blobs: [] })
    await other.node.connect(us.address.addrs, { peer: us.node.id })
    const stream = await other.node.open(us.node.id, protocol, { maxMessage: 1024 * 1024 })
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    // Payload is nothing to this reader: what counts is that it is hung up on.
    stream.start({ onMessage: () => stream.expectPayload(Number.MAX_SAFE_INTEGER), onClose: () => resolve() })
    for (const message of messages) stream.send(message)
    await closed
  }
  await using friend = await host()
  await friend.network.connect(us.address)
  assert.ok((await fetchAll(friend.network.source(us.node.id, digest, layout), layout.pieces)).equals(blob.bytes))
})

test('a host of another protocol version is told apart, and is no neighbour', async () => {
  await using other = await LyingPeer.start({ blobs: [blob] })
  await other.node.unhandle(OBSERVE_PROTOCOL)
  await other.node.handle('/layerswarm/observe/2', { maxMessage: 100 }, () => undefined)
  await using us = await host()
  await assert.rejects(us.network.connect(other.address), is('PEER_VERSION'))
  assert.deepEqual(us.network.connected(), [])
})
