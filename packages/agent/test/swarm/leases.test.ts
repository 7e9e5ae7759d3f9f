import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BLOB, digestNamed, notes, of, PIECE_BYTES, range, TestHost } from './test-host.ts'

/** A lone host with a blob of whole runs and leases on some. */
function holder(runs: number, leased: readonly number[], options: { map?: boolean } = {}): TestHost {
  const host = new TestHost()
  host.open(runs * 8, options)
  host.grant(leased)
  return host
}

function spans(host: TestHost): [number, number][] {
  return host.blob().fetches.map(({ run }) => [run.first, run.count])
}

describe('leases become requests to the registry', () => {
  test('adjacent runs are one request, runs apart are not, and two open before anything is known', () => {
    const host = new TestHost()
    host.open(96, { map: false })
    const fetches = of(host.grant([0, 1, 4, 6]), 'fetch').map(({ run }) => run)
    assert.deepEqual(fetches, [
      { first: 0, count: 16 },
      { first: 32, count: 8 }
    ])
  })

  test('a request takes 32 runs at most', () => {
    const host = holder(40, range(0, 40))
    assert.deepEqual(spans(host), [
      [0, 256],
      [256, 64]
    ])
  })

  test('pieces that are here, or asked of a neighbour, are left out', () => {
    const host = new TestHost()
    host.up('a')
    host.open(16, { have: [0, 1] })
    host.has('a', [4])
    assert.equal(host.state.requests, 1)
    host.grant([0])
    assert.deepEqual(spans(host), [
      [2, 2],
      [5, 3]
    ])
    assert.deepEqual(notes(host.pass(100), 'report')[0]?.got, [0, 1], 'the tracker hears that they are here')
  })

  test('the next request opens when what is under way lasts no longer than two first-byte times', () => {
    const host = holder(64, [0])
    Object.assign(host.blob(), { firstByteMs: 30, pieceMs: 10 })
    host.grant([2, 3, 5])
    assert.equal(spans(host).length, 1, 'eight pieces take 80 ms, and the next must be asked for 70 ms ahead')
    host.now += 10
    host.landed(0, 'registry')
    Object.assign(host.blob(), { firstByteMs: 30, pieceMs: 10 })
    host.landed(1, 'registry')
    assert.deepEqual(spans(host), [
      [0, 8],
      [16, 16]
    ])
  })

  test('no more than four requests are open', () => {
    const host = holder(64, [0, 2, 4, 6, 8, 10])
    Object.assign(host.blob(), { firstByteMs: 10_000, pieceMs: 1 })
    host.tick(1)
    assert.equal(spans(host).length, 4)
  })

  test('a single stream is measured: the first byte is what it waits beyond the time of a piece', () => {
    const host = holder(8, [0])
    host.now += 30
    host.landed(0, 'registry')
    for (const piece of range(1, 7)) {
      host.now += 5
      host.landed(piece, 'registry')
    }
    const { firstByteMs, pieceMs } = host.blob()
    assert.ok(pieceMs < 12, `${pieceMs} ms a piece`)
    assert.ok(firstByteMs >= 0 && firstByteMs <= 30)
  })

  test('what a client waits for is fetched first', () => {
    const host = new TestHost()
    host.open(64, { map: false })
    host.step({ type: 'reader', blob: BLOB, piece: 40, waiting: true })
    host.grant([0, 2, 5, 7])
    assert.deepEqual(spans(host)[0], [40, 8])
  })

  test('a run taken away stops its transfer; what has landed stays', () => {
    const host = holder(8, [0, 4])
    const [first] = host.blob().fetches
    host.now += 20
    host.landed(0, 'registry')
    assert.deepEqual(of(host.revoke(0), 'stopFetch'), [{ type: 'stopFetch', blob: BLOB, fetch: first?.id }])
    assert.deepEqual(spans(host), [[32, 8]])
    assert.ok(host.blob().have.has(0))
    assert.deepEqual(of(host.revoke(0, 3), 'stopFetch'), [], 'a lease that is not here is no news')
  })

  test('a transfer goes on while any of its runs is leased', () => {
    const host = holder(8, [0, 1])
    assert.deepEqual(of(host.revoke(0), 'stopFetch'), [])
    assert.deepEqual(spans(host), [[0, 16]])
  })
})

describe('what peers have of a lease', () => {
  test('what somebody else announces is not fetched as well, unless that host was given up for this one', () => {
    const host = new TestHost()
    host.up('a', 'dead')
    host.open(64)
    host.step({ type: 'fetchFailed', blob: BLOB, fetch: 99, reason: 'busy' })
    host.grant([0])
    host.grant([3], { instead: 'dead' })
    host.has('a', [1, 25])
    host.has('dead', [2, 26])
    assert.deepEqual([...host.blob().assigned], [0, 3, 4, 5, 6, 7, 24, 26, 27, 28, 29, 30, 31])
  })

  test('a take-over strikes what the host given up had announced', () => {
    const host = new TestHost()
    host.open(64)
    host.up('dead')
    host.has('dead', range(0, 64))
    host.step({ type: 'failed', blob: BLOB, piece: 0, peer: 'dead', reason: 'unreachable' })
    host.pass(600)
    host.grant([1], { instead: 'dead' })
    assert.ok(range(8, 8).every((piece) => host.blob().copies[piece] === 0 && !host.blob().wanted.has(piece)))
    assert.equal(host.blob().holders.get('dead')?.has(16), true)
  })

  test('a take-over ends what was asked of the host given up: its pieces are fetched', () => {
    const host = new TestHost()
    host.open(16)
    host.up('dead')
    assert.ok(of(host.has('dead', range(8, 4)), 'request').length > 0)
    const commands = host.grant([1], { instead: 'dead' })
    assert.deepEqual(
      of(commands, 'cancel').map(({ piece }) => piece),
      range(8, 4)
    )
    assert.deepEqual([...host.blob().assigned], range(8, 8))
  })

  for (const [how, end] of Object.entries({
    goes: (host: TestHost) => host.step({ type: 'down', peer: 'a' }),
    evicts: (host: TestHost) => {
      host.has('a', [], { gone: true })
      host.step({ type: 'failed', blob: BLOB, piece: 11, peer: 'a', reason: 'gone' })
    },
    fails: (host: TestHost) => host.step({ type: 'failed', blob: BLOB, piece: 11, peer: 'a', reason: 'unreachable' }),
    'falls silent': (host: TestHost) => host.tick()
  })) {
    test(`what was left to a host that ${how} is fetched after all, unless somebody else has it`, () => {
      const host = new TestHost()
      host.up('a', 'b')
      host.open(16)
      host.step({ type: 'fetchFailed', blob: BLOB, fetch: 99, reason: 'busy' })
      host.grant([1])
      host.has('a', [10, 11])
      host.now += 4500
      host.has('b', [10])
      assert.deepEqual([...host.blob().assigned], [8, 9, 12, 13, 14, 15])
      end(host)
      assert.deepEqual([...host.blob().assigned], [8, 9, 11, 12, 13, 14, 15])
    })
  }

  test('a piece that arrives from a peer ends the transfer that was to bring it', () => {
    const host = new TestHost()
    host.up('a')
    host.open(9)
    host.grant([1])
    assert.deepEqual(spans(host), [[8, 1]])
    assert.equal(of(host.landed(8, 'a'), 'stopFetch').length, 1)
    assert.deepEqual(spans(host), [])
  })
})

describe('a transfer', () => {
  test('is stopped once the rest of it is here, whoever brought the last piece of use', () => {
    const host = new TestHost()
    host.up('a')
    host.open(64)
    host.grant([0])
    for (const piece of range(2, 6)) assert.deepEqual(of(host.landed(piece, 'a'), 'stopFetch'), [])
    host.now += 10
    assert.deepEqual(of(host.landed(0, 'registry'), 'stopFetch'), [])
    assert.deepEqual(of(host.landed(1, 'registry'), 'stopFetch'), [{ type: 'stopFetch', blob: BLOB, fetch: 0 }])
  })

  test('that has brought all of it is left to end by itself', () => {
    const host = holder(8, [0])
    assert.deepEqual(of(host.fetched(0), 'stopFetch'), [])
    assert.equal(host.blob().fetches.length, 1)
    host.step({ type: 'fetchEnded', blob: BLOB, fetch: 0 })
    assert.equal(host.blob().fetches.length, 0)
  })
})

describe('reports', () => {
  test('go out each 100 ms while leases are open, and say what came since the last', () => {
    const host = holder(8, [0])
    host.pass(100)
    host.now += 20
    host.landed(0, 'registry')
    host.landed(1, 'registry')
    assert.deepEqual(
      notes(host.pass(200), 'report').map(({ got, spread, bytes }) => ({ got, spread, bytes })),
      [
        { got: [0, 1], spread: [0, 1], bytes: 2 * PIECE_BYTES },
        { got: [], spread: [], bytes: 0 }
      ]
    )
  })

  test('go out at once when a run is there', () => {
    const host = holder(8, [0, 4])
    const [report] = notes(host.fetched(0, 1), 'report')
    assert.deepEqual(report?.got, range(0, 8))
    assert.equal(report?.bytes, 8 * PIECE_BYTES)
    assert.equal(report?.whole, false)
  })

  test('call a piece spread when a neighbour announces it, and not before', () => {
    const host = new TestHost()
    host.up('a')
    host.open(64)
    host.has('a', [])
    host.has('a', [60])
    host.grant([0])
    assert.deepEqual(notes(host.fetched(0, 1), 'report')[0]?.spread, [])
    host.has('a', [0, 1])
    assert.deepEqual(notes(host.pass(100), 'report')[0]?.spread, [0, 1])
    assert.equal(host.blob().unspread.size, 6)
  })

  test('count what the registry sent twice, and what it sent without a lease', () => {
    const host = new TestHost({ tracker: false })
    host.open(4, { planned: false })
    host.tick()
    host.now += 10
    host.landed(0, 'registry')
    host.landed(0, 'registry')
    assert.equal(notes(host.pass(100), 'report')[0]?.bytes, 2 * PIECE_BYTES)
    assert.deepEqual(notes(host.pass(50), 'report'), [])
  })

  test('that this host lives is said once, however many blobs it has leases of', () => {
    const host = new TestHost()
    for (const blob of range(0, 8).map((i) => digestNamed(`layer ${i}`))) {
      host.open(1, { blob })
      host.grant([0], { blob })
    }
    assert.equal(notes(host.pass(1000), 'report').length, 10)
  })

  test('a finished blob is let go once its pieces have spread, after five seconds at the latest', () => {
    for (const spreads of [true, false]) {
      const host = new TestHost()
      host.up('a')
      host.open(8)
      host.has('a', [])
      host.step({ type: 'available', peer: 'a', blob: BLOB, pieces: [7], load: 0, gone: false })
      host.grant([0])
      host.fetched(0)
      assert.deepEqual(of(host.pass(4900), 'retire'), [])
      if (spreads) host.has('a', range(0, 7))
      assert.equal(of(host.tick(spreads ? 50 : 200), 'retire').length, 1)
    }
  })
})

describe('when the registry fails', () => {
  test('leases go back with the reason; one that is denied is not to be leased here again', () => {
    for (const [reason, told, bar] of [
      ['refused', 'denied', true],
      ['busy', 'busy', false],
      ['failed', 'failed', false]
    ] as const) {
      const host = holder(8, [0, 1, 5])
      host.fetched(0)
      const [fetch] = host.blob().fetches
      const commands = host.step({ type: 'fetchFailed', blob: BLOB, fetch: fetch?.id ?? -1, reason })
      const released = { t: 'release', blob: BLOB, runs: [1, 5], reason: told, bar }
      assert.deepEqual(notes(commands, 'release'), [released])
      assert.equal(of(commands, 'stopFetch').length, 1, 'its other transfers end')
      assert.deepEqual([host.blob().assigned.count, host.blob().fetches.length, [...host.blob().leases.keys()]], [0, 0, [0]])
    }
  })

  test('it is left alone for half a second, then twice as long each time, ten seconds at most', () => {
    const host = holder(8, [])
    const waits: number[] = []
    for (let failure = 0; failure < 7; failure++) {
      host.grant([1])
      const from = host.now
      for (let i = 0; i < 1000 && host.blob().fetches.length === 0; i++) host.tick(50)
      if (failure > 0) waits.push(host.now - from)
      host.step({ type: 'fetchFailed', blob: BLOB, fetch: host.blob().fetches[0]?.id ?? -1, reason: 'failed' })
    }
    assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 10_000])
  })

  test('a piece, or a whole transfer, makes up for it', () => {
    const host = holder(8, [0])
    host.step({ type: 'fetchFailed', blob: BLOB, fetch: host.blob().fetches[0]?.id ?? -1, reason: 'busy' })
    host.now += 500
    host.grant([0])
    host.fetched(0)
    assert.equal(host.blob().registryFailures, 0)
    host.step({ type: 'fetchFailed', blob: BLOB, fetch: -1, reason: 'busy' })
    assert.equal(host.blob().registryFailures, 1)
    host.step({ type: 'fetchEnded', blob: BLOB, fetch: host.blob().fetches[0]?.id ?? -1 })
    assert.equal(host.blob().registryFailures, 0)
  })

  test('one that ignores Range streams everything, once, and the tracker hears of it', () => {
    const host = holder(8, [2, 5])
    assert.equal(host.blob().fetches.length, 2)
    host.now += 10
    host.step({ type: 'noRange', blob: BLOB })
    host.landed(0, 'registry')
    assert.deepEqual(spans(host), [
      [0, 64],
      [0, 64]
    ])
    assert.equal(notes(host.pass(100), 'report')[0]?.whole, true)
    for (const { id } of [...host.blob().fetches]) host.step({ type: 'fetchEnded', blob: BLOB, fetch: id })
    assert.deepEqual(spans(host), [[0, 64]], 'one stream is enough')
  })
})

describe('giving back', () => {
  test('closing a blob that is not complete releases its leases and stops its transfers', () => {
    const host = holder(8, [0, 4])
    const commands = host.step({ type: 'close', blob: BLOB })
    assert.equal(of(commands, 'stopFetch').length, 2)
    assert.deepEqual(notes(commands, 'release'), [{ t: 'release', blob: BLOB, runs: [0, 4], reason: 'stopping', bar: false }])
  })
})
