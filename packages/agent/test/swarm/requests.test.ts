import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { layoutOf } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import { choosePiece, IN_FLIGHT } from '../../src/swarm/policy.ts'
import { BLOB, digestNamed, of, PIECE_BYTES, range, TestHost } from './test-host.ts'

const crowd = range(0, IN_FLIGHT).map((i) => `peer${i}`)

/** A host with `IN_FLIGHT` neighbours, so that each may have one request open. */
function crowded(options: { seed?: number; pieces?: number } = {}): TestHost {
  const host = new TestHost(options)
  host.up(...crowd)
  host.open(options.pieces ?? 64)
  return host
}

describe('whom to ask', () => {
  test('a blob is observed at every neighbour, and a new neighbour is asked for every blob', () => {
    const host = new TestHost()
    host.up('a', 'b')
    const other = digestNamed('other')
    assert.deepEqual(
      of(host.open(8), 'observe').map(({ peer }) => peer),
      ['a', 'b']
    )
    host.open(8, { blob: other })
    assert.deepEqual(
      of(host.up('c'), 'observe').map(({ blob }) => blob),
      [BLOB, other]
    )
  })

  test('nobody is asked for what cannot be verified, nor for what it has not', () => {
    const host = new TestHost()
    host.up('a')
    host.open(16, { map: false })
    assert.deepEqual(of(host.has('a', range(0, 16)), 'request'), [])
    const asked = of(host.step({ type: 'vouched', blob: BLOB, run: { first: 8, count: 2 } }), 'request')
    assert.deepEqual(
      asked.map(({ piece }) => piece),
      [8, 9]
    )
    assert.deepEqual(of(host.has('a', [99, -1]), 'request'), [])
    assert.equal(host.blob().copies.length, 16)
  })

  test('the neighbour comes before the piece: least of twice my requests there and its load', () => {
    const host = new TestHost()
    host.up('a', 'b', 'c')
    host.open(8, { map: false })
    host.has('a', range(0, 8), { load: 3 })
    host.has('b', range(0, 8), { load: 1 })
    host.has('c', range(0, 8), { load: 8 })
    const asked = of(host.step({ type: 'map', blob: BLOB, proven: true }), 'request').map(({ peer }) => peer)
    assert.equal(asked[0], 'b')
    assert.deepEqual(asked.slice(1, 3).sort(), ['a', 'b'], 'both cost 3 now')
    assert.deepEqual(asked.slice(3, 7).sort(), ['a', 'a', 'b', 'b'], 'c costs 8')
    assert.equal(asked[7], 'c', 'b has its four requests, and a costs 9')
  })

  test('ties are broken at random', () => {
    const first = new Set<string>()
    for (let seed = 0; seed < 40; seed++) {
      const host = new TestHost({ seed })
      host.up('a', 'b', 'c')
      host.open(8, { map: false })
      for (const peer of ['a', 'b', 'c']) host.has(peer, range(0, 8))
      first.add(of(host.step({ type: 'map', blob: BLOB, proven: true }), 'request')[0]?.peer ?? '')
    }
    assert.deepEqual([...first].sort(), ['a', 'b', 'c'])
  })

  test('one request per neighbour where there are enough of them, a share of the limit where there are few', () => {
    const many = crowded()
    assert.equal(of(many.has('peer0', range(0, 64)), 'request').length, 1)
    for (const [neighbours, each] of [
      [1, 24],
      [3, 8],
      [7, 3],
      [13, 1]
    ] as const) {
      const host = new TestHost()
      host.up(...crowd.slice(0, neighbours))
      host.open(64)
      assert.equal(of(host.has('peer0', range(0, 64)), 'request').length, each, `${neighbours} neighbours`)
    }
  })

  test('twenty-four requests in all, and fewer of pieces that take much memory', () => {
    for (const [size, requests] of [
      [64 * PIECE_BYTES, 24],
      [2 ** 34, 14]
    ] as const) {
      const host = new TestHost()
      const layout = layoutOf(size)
      host.up(...range(0, 30).map((i) => `p${i}`))
      host.step({ type: 'open', blob: BLOB, layout, have: new PieceSet(layout.pieces) })
      host.step({ type: 'map', blob: BLOB, proven: true })
      for (let i = 0; i < 30; i++) host.has(`p${i}`, range(0, 64))
      assert.equal(host.state.requests, requests)
    }
  })

  test('a banned host is neither dialled nor taken for a neighbour', () => {
    const host = crowded()
    host.has('peer0', range(0, 64))
    const [asked] = host.requests
    assert.ok(asked)
    const commands = host.step({ type: 'failed', blob: BLOB, piece: asked.piece, peer: 'peer0', reason: 'lie' })
    assert.deepEqual(of(commands, 'ban'), [{ type: 'ban', peer: 'peer0' }])
    assert.deepEqual([host.state.neighbours.has('peer0'), host.state.requests, host.blob().copies[0]], [false, 0, 0])
    assert.deepEqual(host.up('peer0'), [])
    assert.equal(host.state.neighbours.has('peer0'), false)
    const peer = { id: 'peer0', addrs: [], name: 'peer0' }
    assert.deepEqual(host.step({ type: 'peers', peers: [peer] }), [])
  })
})

describe('which piece', () => {
  test('what nobody else has much of comes first, at random; then the lowest', () => {
    const first = new Set<number>()
    for (let seed = 0; seed < 60; seed++) {
      const host = new TestHost({ seed })
      host.up(...crowd)
      host.open(64, { map: false })
      for (const peer of crowd.slice(1, 4)) host.has(peer, range(0, 60))
      host.has('peer0', range(0, 64))
      for (const peer of crowd.slice(1, 4)) host.step({ type: 'down', peer })
      for (const peer of crowd.slice(1, 4)) host.up(peer)
      for (const peer of crowd.slice(4, 7)) host.has(peer, range(0, 60))
      const asked = of(host.step({ type: 'map', blob: BLOB, proven: true }), 'request').find(({ peer }) => peer === 'peer0')
      first.add(asked?.piece ?? -1)
    }
    assert.deepEqual([...first].sort(), [60, 61, 62, 63])
  })

  test('what is rare of a later blob comes as soon as what is of an earlier one', () => {
    const later = digestNamed('later')
    const chosen = range(0, 40).map((seed) => {
      const host = crowded({ seed })
      host.open(64, { blob: later })
      host.has('peer0', [0])
      host.has('peer0', [1])
      host.has('peer0', [2], { blob: later })
      const choice = choosePiece(host.state, host.neighbour('peer0'))
      return `${choice?.blob.digest === later ? 'later' : 'earlier'} ${choice?.piece}`
    })
    assert.deepEqual([...new Set(chosen)].sort(), ['earlier 1', 'later 2'])
  })

  test('common pieces go from the lowest up, and the earliest blob first', () => {
    const host = new TestHost()
    const later = digestNamed('later')
    host.up('a', 'b', 'c')
    host.open(8, { map: false })
    host.open(8, { blob: later, map: false })
    for (const peer of ['a', 'b', 'c']) for (const blob of [BLOB, later]) host.has(peer, range(0, 8), { blob })
    host.step({ type: 'map', blob: later, proven: true })
    assert.deepEqual(
      host.requests.map(({ piece }) => piece),
      range(0, 8)
    )
    const asked = of(host.step({ type: 'map', blob: BLOB, proven: true }), 'request')
    assert.deepEqual(
      asked.map(({ blob, piece }) => [blob, piece]),
      range(0, 8).map((piece) => [BLOB, piece])
    )
  })

  test('the piece that a client waits for comes before all, even beyond the limits', () => {
    const host = new TestHost()
    host.up('a')
    host.open(64)
    host.has('a', range(0, 64))
    assert.equal(host.state.requests, 24)
    const piece = range(0, 64).find((number) => !host.blob().requests.has(number)) ?? 0
    const asked = of(host.step({ type: 'reader', blob: BLOB, piece, waiting: true }), 'request')
    assert.deepEqual(asked, [{ type: 'request', peer: 'a', blob: BLOB, piece, faring: { received: 0, elapsed: 0 } }])
    assert.deepEqual(of(host.step({ type: 'reader', blob: BLOB, piece, waiting: true }), 'request'), [], 'once')
    host.step({ type: 'reader', blob: BLOB, piece, waiting: false })
    assert.equal(host.blob().readers.get(piece), 1, 'the other reader waits still')
    host.step({ type: 'reader', blob: BLOB, piece, waiting: false })
    assert.equal(host.blob().readers.size, 0)
  })

  test('a neighbour that comes late tells what it has, and is asked at once', () => {
    const host = new TestHost()
    host.open(32)
    host.pass(200)
    assert.equal(of(host.up('late'), 'observe').length, 1)
    assert.equal(of(host.has('late', PieceSet.full(32)), 'request').length, 24)
  })

  test('a blob of one piece needs nobody to vouch for it', () => {
    const host = new TestHost()
    host.up('a')
    host.step({ type: 'open', blob: BLOB, layout: layoutOf(1000), have: new PieceSet(1) })
    assert.deepEqual(
      of(host.has('a', [0]), 'request').map(({ piece }) => piece),
      [0]
    )
    assert.deepEqual(of(host.landed(0, 'a'), 'complete'), [{ type: 'complete', blob: BLOB }])
  })
})

describe('requests', () => {
  test('say how much this host has got since it began, over all its blobs', () => {
    const host = new TestHost()
    host.up('a')
    host.open(64)
    host.now += 1200
    const next = () => of(host.landed(host.requests[0]?.piece ?? 0, 'a'), 'request')[0]?.faring
    host.has('a', range(0, 40))
    assert.deepEqual(next(), { received: PIECE_BYTES, elapsed: 1200 })
    host.open(64, { blob: digestNamed('other') })
    host.now += 300
    assert.deepEqual(next(), { received: 2 * PIECE_BYTES, elapsed: 1500 })
  })

  test('a host that had nothing left to fetch begins anew', () => {
    const host = new TestHost()
    host.up('a')
    host.open(2)
    host.has('a', range(0, 2))
    for (const piece of range(0, 2)) host.landed(piece, 'a')
    host.now += 10_000
    const other = digestNamed('other')
    host.open(8, { blob: other })
    const [first] = of(host.has('a', range(0, 8), { blob: other }), 'request')
    assert.deepEqual(first?.faring, { received: 0, elapsed: 0 })
  })
})

describe('what comes of a request', () => {
  test('a landed piece is asked of nobody again, and the next request goes out', () => {
    const host = crowded()
    host.has('peer0', range(0, 2))
    const first = host.requests[0]
    assert.ok(first)
    const asked = of(host.landed(first.piece, 'peer0'), 'request')
    assert.deepEqual(
      asked.map(({ peer, piece }) => [peer, piece]),
      [['peer0', 1 - first.piece]]
    )
  })

  test('a blob is complete once, and again after pieces of it were discarded', () => {
    const host = new TestHost()
    host.up('a')
    host.open(3, { have: [0] })
    host.has('a', range(0, 3))
    assert.deepEqual(of(host.landed(1, 'a'), 'complete'), [])
    assert.equal(of(host.landed(2, 'a'), 'complete').length, 1)
    assert.deepEqual(of(host.landed(2, 'a'), 'complete'), [])
    assert.deepEqual(
      of(host.step({ type: 'discarded', blob: BLOB, pieces: [1] }), 'request').map(({ piece }) => piece),
      [1]
    )
    assert.equal(of(host.landed(1, 'a'), 'complete').length, 1)
  })

  test('an empty blob, and one that is all there, are complete at once', () => {
    const host = new TestHost()
    host.up('a')
    const empty = host.step({ type: 'open', blob: BLOB, layout: layoutOf(0), have: new PieceSet(0) })
    assert.deepEqual(empty, [{ type: 'complete', blob: BLOB }])
    const other = digestNamed('other')
    assert.deepEqual(of(host.open(4, { blob: other, have: range(0, 4) }), 'complete'), [{ type: 'complete', blob: other }])
    assert.equal(of(host.tick(50), 'retire').length, 2)
  })

  test('a peer that holds the blob no longer is not blamed and not asked', () => {
    const host = new TestHost()
    host.up('a', 'b')
    host.open(32)
    host.has('a', range(0, 32))
    host.step({ type: 'failed', blob: BLOB, piece: 0, peer: 'a', reason: 'gone' })
    assert.equal(host.blob().holders.has('a'), false)
    assert.equal(host.neighbour('a').suspectSince, undefined)
    host.has('b', range(0, 8))
    host.has('b', [], { gone: true })
    assert.equal(host.blob().holders.has('b'), false)
    assert.equal(host.blob().copies[3], 0)
  })

  test('a peer that cannot be reached is left alone for a while', () => {
    const host = new TestHost()
    host.up('a', 'b')
    host.open(4)
    host.has('a', [0])
    const commands = host.step({ type: 'failed', blob: BLOB, piece: 0, peer: 'a', reason: 'unreachable' })
    assert.deepEqual(of(commands, 'request'), [])
    host.has('b', [0])
    assert.deepEqual(host.requests, [{ peer: 'b', piece: 0 }])
  })

  test('a neighbour that goes takes its requests and what it had with it', () => {
    const host = new TestHost()
    host.up('a', 'b')
    host.open(4)
    host.has('a', range(0, 4))
    host.has('b', [2])
    const asked = of(host.step({ type: 'down', peer: 'a' }), 'request')
    assert.deepEqual(
      asked.map(({ peer, piece }) => [peer, piece]),
      [['b', 2]]
    )
    assert.equal(host.state.requests, 1)
    assert.deepEqual([...host.blob().copies], [0, 0, 1, 0])
    assert.deepEqual(host.step({ type: 'down', peer: 'stranger' }), [])
  })

  test('closing a blob cancels what is open and frees the places', () => {
    const host = new TestHost()
    const other = digestNamed('other')
    host.up('a')
    host.open(24)
    host.open(30, { blob: other })
    host.has('a', range(0, 24))
    host.has('a', range(0, 30), { blob: other })
    const commands = host.step({ type: 'close', blob: BLOB })
    assert.equal(of(commands, 'cancel').length, 24)
    assert.equal(of(commands, 'request').filter(({ blob }) => blob === other).length, 24)
    assert.deepEqual(host.step({ type: 'landed', blob: BLOB, piece: 0, from: 'a', bytes: PIECE_BYTES }), [], 'what comes late is ignored')
  })

  test('a map that was only one host’s word and fails leaves what claims vouch for', () => {
    const host = new TestHost()
    host.up('a', 'b', 'c')
    host.open(16, { map: false })
    for (const peer of ['a', 'b', 'c']) host.has(peer, range(0, 16))
    host.step({ type: 'map', blob: BLOB, proven: false })
    assert.equal(host.blob().map, 'word')
    assert.equal(host.state.requests, 16)
    const commands = host.step({ type: 'mapFailed', blob: BLOB, vouched: PieceSet.of(16, [3, 15]) })
    assert.equal(host.blob().map, 'none')
    assert.deepEqual(
      of(commands, 'cancel')
        .map(({ piece }) => piece)
        .sort((x, y) => x - y),
      range(0, 15).filter((piece) => piece !== 3),
      'bytes that nothing vouches for are of no use'
    )
    assert.deepEqual(
      host.requests.map(({ piece }) => piece),
      [3, 15]
    )
  })
})

describe('a request that waits where many wait', () => {
  /** Piece 0 is asked of `first`, which has `load` uploads then, and `second` has it too by now. */
  function waiting(load: number, options: { second?: number; more?: readonly number[] } = {}) {
    const host = new TestHost()
    host.up('first', 'second')
    host.open(16)
    host.has('first', [0], { load: 0 })
    assert.deepEqual(host.requests, [{ peer: 'first', piece: 0 }])
    host.has('first', [], { load })
    const commands = host.has('second', [0, ...(options.more ?? [])], { load: options.second ?? 0 })
    return { host, withdrawn: of(commands, 'withdraw') }
  }

  test('is taken back for a neighbour that has the piece and nothing to do, and asked of that one once it is off', () => {
    const { host, withdrawn } = waiting(8)
    assert.deepEqual(withdrawn, [{ type: 'withdraw', peer: 'first', blob: BLOB, piece: 0 }])
    assert.deepEqual(host.requests, [{ peer: 'first', piece: 0 }], 'until then it counts')
    assert.deepEqual(of(host.has('second', []), 'withdraw'), [], 'once')
    host.step({ type: 'withdrawn', peer: 'first', blob: BLOB, piece: 0 })
    assert.deepEqual(host.requests, [{ peer: 'second', piece: 0 }])
  })

  test('and whose answer had begun is answered there', () => {
    const { host } = waiting(8)
    host.landed(0, 'first')
    assert.deepEqual(host.requests, [])
    assert.ok(host.blob().have.has(0))
  })

  test('stays where it is if the other has hardly less to do', () => {
    assert.deepEqual(waiting(2).withdrawn, [])
    assert.deepEqual(waiting(8, { second: 6 }).withdrawn, [])
  })

  test('stays where it is while there is something else to ask of the other', () => {
    const { host, withdrawn } = waiting(8, { more: range(1, 15) })
    assert.deepEqual(withdrawn, [])
    assert.ok(host.requests.length > 1)
  })

  test('is taken back for one that has just delivered, too', () => {
    const { host } = waiting(2, { more: [1] })
    assert.deepEqual(host.requests, [
      { peer: 'first', piece: 0 },
      { peer: 'second', piece: 1 }
    ])
    host.has('first', [], { load: 9 })
    assert.deepEqual(
      of(host.landed(1, 'second'), 'withdraw').map(({ peer }) => peer),
      ['first']
    )
  })

  test('stays in its zone', () => {
    const host = new TestHost()
    host.step({ type: 'peers', peers: [{ id: 'second', name: 'second', addrs: [], zone: 'far' }] })
    host.up('first', 'second')
    host.open(16)
    host.has('first', [0], { load: 0 })
    host.has('first', [], { load: 9 })
    assert.deepEqual(of(host.has('second', [0]), 'withdraw'), [])
  })
})
