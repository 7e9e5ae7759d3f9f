import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Underway } from '../../src/swarm/underway.ts'
import { BLOB, digestNamed, notes, of, PIECE_BYTES, range, TestHost } from './test-host.ts'

describe('a piece that takes long', () => {
  test('is waited for while its bytes come, and no other source is asked for it', () => {
    const host = new TestHost()
    host.up('a')
    host.open(64)
    host.has('a', [5])
    host.grant([0])
    assert.equal(host.requests.length, 1)
    for (let second = 0; second < 60; second++) {
      const commands = [...host.arriving(['a']), ...host.pass(1000)]
      assert.equal(of(commands, 'cancel').length + of(commands, 'giveUp').length, 0)
    }
    assert.ok(!host.blob().assigned.has(20), 'nothing is asked of the registry without a lease')
    const silent = host.pass(4500)
    assert.deepEqual(of(silent, 'cancel'), [{ type: 'cancel', peer: 'a', blob: BLOB, piece: 5 }])
  })

  test('from the registry is told to the tracker as its bytes come, and each byte once', () => {
    const host = new TestHost()
    host.up('a')
    host.open(64)
    const [fetch] = of(host.grant([0]), 'fetch')
    assert.ok(fetch)
    const told: number[] = []
    const pass = (ms: number) => told.push(...notes(host.pass(ms), 'report').map(({ bytes }) => bytes))
    for (let part = 1; part < 4; part++) {
      pass(2000)
      host.arriving([], [[fetch.fetch, (part * PIECE_BYTES) / 4]])
    }
    pass(200)
    assert.equal(
      told.reduce((sum, bytes) => sum + bytes),
      (3 * PIECE_BYTES) / 4
    )
    host.landed(0, 'registry')
    host.arriving([], [[fetch.fetch, PIECE_BYTES / 4]])
    host.landed(1, 'registry')
    pass(200)
    assert.equal(
      told.reduce((sum, bytes) => sum + bytes),
      2 * PIECE_BYTES
    )
  })

  test('from the registry tells nothing by itself where pieces come often', () => {
    const host = new TestHost()
    host.open(64)
    const [fetch] = of(host.grant([0]), 'fetch')
    assert.ok(fetch)
    host.landed(0, 'registry')
    host.pass(500)
    host.arriving([], [[fetch.fetch, 1000]])
    assert.ok(notes(host.pass(200), 'report').every(({ bytes }) => bytes === 0))
  })
})

describe('under a limit of downloads', () => {
  const everybody = range(0, 24).map((number) => `peer ${number}`)

  function asking(downloadLimit?: number): TestHost {
    const host = new TestHost(downloadLimit === undefined ? {} : { downloadLimit })
    host.up(...everybody)
    host.open(64)
    for (const peer of everybody) host.has(peer, range(0, 64))
    return host
  }

  test('no more is asked for than half a second of it brings', () => {
    assert.equal(asking().requests.length, 24)
    assert.equal(asking(100 * PIECE_BYTES).requests.length, 24)
    assert.equal(asking(10 * PIECE_BYTES).requests.length, 5)
    assert.equal(asking(PIECE_BYTES / 10).requests.length, 2)
  })

  test('pieces are not asked for twice because they take as long as the limit says', () => {
    for (const [downloadLimit, hedges] of [
      [undefined, 2],
      [2 * PIECE_BYTES, 0]
    ] as const) {
      const host = asking(downloadLimit)
      for (const piece of range(0, 62)) {
        host.now += 10
        host.landed(piece, host.requests.find((request) => request.piece === piece)?.peer ?? 'registry')
      }
      assert.equal(host.requests.length, 2)
      host.arriving(everybody)
      host.pass(900)
      assert.equal(host.requests.length - 2, hedges)
    }
  })

  test('images have as much asked for each, however many layers they have and whichever came first', () => {
    const host = new TestHost({ downloadLimit: 16 * PIECE_BYTES })
    host.up(...everybody)
    const layers = ['a1', 'a2', 'a3', 'b1'].map((name) => ({ blob: digestNamed(name), pull: name.slice(0, 1) }))
    for (const { blob, pull } of layers) {
      host.open(64, { blob, pull })
      for (const peer of everybody) host.has(peer, range(0, 64), { blob })
    }
    const open = (image: string) =>
      [...host.state.blobs.values()].reduce((sum, { pull, requests }) => sum + (pull === image ? requests.size : 0), 0)
    assert.deepEqual([open('a'), open('b')], [8, 0])
    for (let step = 0; step < 40; step++) {
      host.now += 10
      const [request] = [...host.state.blobs.values()].flatMap(({ requests }) => [...requests.values()].flat())
      assert.ok(request)
      host.landed(request.piece, request.peer, request.blob)
    }
    assert.deepEqual([open('a'), open('b')], [4, 4])
  })
})

test('what moves is told once, and the piece under way with its bytes', () => {
  const underway = new Underway()
  assert.equal(underway.take(), undefined)
  underway.fromPeer('a', 10)
  underway.fromPeer('a', 10)
  underway.fromRegistry(7, 5)
  assert.deepEqual(underway.take(), { peers: ['a'], fetches: new Map([[7, 5]]) })
  assert.equal(underway.take(), undefined)
  underway.fromRegistry(7, 5)
  assert.deepEqual(underway.take(), { peers: [], fetches: new Map([[7, 10]]) })
  underway.ended(7)
  underway.fromPeer('b', 1)
  assert.deepEqual(underway.take(), { peers: ['b'], fetches: new Map() })
  assert.equal(underway.moved, 31)
})
