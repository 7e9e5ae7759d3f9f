import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RUN_PIECES } from '@layerswarm/core/piece-layout.ts'
import type { Gateway } from '@layerswarm/core/wire/directory-protocol.ts'
import type { SwarmCommand } from '../../src/swarm/messages.ts'
import { BLOB, digestNamed, notes, of, range, TestHost } from './test-host.ts'

const PIECES = 4 * RUN_PIECES
const FAR = ['far0', 'far1', 'far2', 'far3', 'far4']

/** A host of a zone with neighbours in another one, to which the tracker gives a place, or none. */
function zoned(gateway?: Gateway, options: { blob?: typeof BLOB; pieces?: number } = {}): TestHost {
  const { blob = BLOB, pieces = PIECES } = options
  const host = new TestHost()
  host.open(pieces, { blob, planned: false })
  host.step({ type: 'planned', blob, gateway })
  meet(host, FAR)
  host.up('near')
  return host
}

function meet(host: TestHost, peers: readonly string[]): readonly SwarmCommand[] {
  const commands = host.step({ type: 'peers', peers: peers.map((id) => ({ id, name: id, addrs: [], zone: 'far' })) })
  host.up(...peers)
  return commands
}

const asked = (commands: readonly SwarmCommand[]) => of(commands, 'request').map(({ piece }) => piece)
const runsOf = (pieces: Iterable<number>) => [...new Set([...pieces].map((piece) => Math.floor(piece / RUN_PIECES)))]

/** All pieces that the host asks for until it has everything it may ask of its neighbours. */
function askedInAll(host: TestHost, first: readonly SwarmCommand[], from = 'far0'): Set<number> {
  const pieces = new Set<number>()
  const open = asked(first)
  for (let piece = open.shift(); piece !== undefined; piece = open.shift()) {
    pieces.add(piece)
    host.now += 1
    open.push(...asked(host.landed(piece, from)))
  }
  return pieces
}

describe('who asks across zones', () => {
  test('one that is no gateway asks nobody of another zone', () => {
    const host = zoned()
    assert.deepEqual(asked(host.has('far0', range(0, PIECES))), [])
    assert.equal(host.neighbour('far0').useful, 0)
    assert.ok(asked(host.has('near', range(0, 3))).every((piece) => piece < 3))
    assert.ok(host.requests.every(({ peer }) => peer === 'near'))
  })

  test('not even for what a reader waits for, nor to hedge', () => {
    const host = zoned()
    host.has('far0', range(0, PIECES))
    assert.deepEqual(asked(host.step({ type: 'reader', blob: BLOB, piece: 0, waiting: true })), [])
    host.has('near', [1])
    host.landed(1, 'near')
    host.has('near', [2])
    host.tick(400)
    assert.deepEqual(host.requests, [{ peer: 'near', piece: 2 }])
  })

  test('a gateway imports the runs of its number, and those of all numbers are all runs', () => {
    const runs = range(0, 4).map((number) => {
      const host = zoned({ number, of: 4 })
      return runsOf(askedInAll(host, host.has('far0', range(0, PIECES))))
    })
    assert.ok(runs.every((mine) => mine.length === 1))
    assert.deepEqual(runs.flat().toSorted(), [0, 1, 2, 3])
  })

  test('blobs of one run are not all imported by the same gateway', () => {
    const numbers = new Set<number>()
    for (const blob of range(0, 40).map((i) => digestNamed(`small ${i}`))) {
      for (const number of range(0, 4)) {
        const host = zoned({ number, of: 4 }, { blob, pieces: 1 })
        if (asked(host.has('far0', [0], { blob })).length > 0) numbers.add(number)
      }
    }
    assert.equal(numbers.size, 4)
  })

  test('what a host of the own zone has is taken from there', () => {
    const host = zoned({ number: 0, of: 1 })
    host.has('near', range(0, PIECES), { load: 9 })
    host.has('far0', range(0, PIECES))
    assert.ok(host.requests.length > 0)
    assert.ok(host.requests.every(({ peer }) => peer === 'near'))
    host.step({ type: 'down', peer: 'near' })
    assert.ok(host.requests.length > 0)
    assert.ok(
      host.requests.every(({ peer }) => peer === 'far0'),
      'it imports what is at nobody of its zone any more'
    )
  })

  test('imports go first, four at a time', () => {
    const host = zoned({ number: 0, of: 1 })
    host.step({ type: 'down', peer: 'near' })
    host.up(...range(0, 14).map((i) => `near${i}`))
    host.open(PIECES, { blob: digestNamed('other') })
    host.has('near0', range(0, PIECES), { blob: digestNamed('other') })
    const open = () => host.requests.filter(({ peer }) => FAR.includes(peer)).length
    for (const peer of FAR) host.has(peer, range(0, PIECES), { load: 20 })
    assert.equal(open(), 4)
  })
})

describe('places change', () => {
  test('a place taken later counts from then on, and one beyond the last ends it', () => {
    const host = zoned()
    host.has('far0', range(0, PIECES))
    const first = host.step({ type: 'place', blob: BLOB, gateway: { number: 1, of: 2 } })
    assert.equal(runsOf(askedInAll(host, first)).length, 2)
    assert.deepEqual(asked(host.step({ type: 'place', blob: BLOB, gateway: { number: 4, of: 4 } })), [])
  })

  test('a neighbour that turns out to be of another zone is asked no more', () => {
    const host = zoned()
    host.has('near', range(0, 2))
    assert.equal(host.requests.length, 2)
    meet(host, ['near'])
    assert.deepEqual(asked(host.has('near', range(0, 8))), [])
    assert.equal(host.blob().copies[0], 0, 'nor is it counted among those of the zone')
  })

  test('a gateway says that it lives, until it has the blob', () => {
    const host = zoned({ number: 0, of: 4 })
    assert.equal(notes(host.pass(2000), 'report').length, 4)
    assert.deepEqual(notes(zoned().pass(2000), 'report'), [])
  })
})

describe('when nobody imports', () => {
  test('what only a host of the zone has that fell silent is imported, until that one is heard again', () => {
    const host = zoned({ number: 0, of: 1 })
    host.has('near', range(0, 4))
    for (const peer of FAR) host.has(peer, range(0, 4))
    assert.ok(host.requests.every(({ peer }) => peer === 'near'))
    assert.ok(of(host.tick(5000), 'request').every(({ peer }) => FAR.includes(peer)))
    assert.equal(host.requests.length, 4)
    host.has('near', [])
    assert.ok(range(0, 4).every((piece) => !host.blob().importable.has(piece)))
  })

  test('an idle host asks for it itself, and tells the tracker', () => {
    const host = zoned({ number: 0, of: 4 })
    const theirs = asked(host.has('far0', range(0, PIECES)))
    for (const piece of range(0, PIECES)) if (host.blob().imports.has(piece)) host.landed(piece, 'far0')
    assert.ok(theirs.length > 0)
    const commands = host.pass(700)
    assert.equal(notes(commands, 'orphans')[0]?.pieces.length, 3 * RUN_PIECES)
    assert.ok(asked(commands).length > 0)
  })

  test('so does one that is no gateway', () => {
    const host = zoned()
    host.has('far0', range(0, PIECES))
    assert.deepEqual(asked(host.pass(450)), [])
    assert.ok(asked(host.pass(200)).length > 0)
  })

  test('without a tracker nobody knows who imports: everybody may ask everywhere', () => {
    const alone = new TestHost({ tracker: false })
    alone.open(8, { planned: false })
    meet(alone, ['far0'])
    assert.ok(asked(alone.has('far0', range(0, 8))).length > 0)

    const unplanned = new TestHost()
    unplanned.open(8, { planned: false })
    meet(unplanned, ['far0'])
    assert.deepEqual(asked(unplanned.has('far0', range(0, 8))), [])
    assert.ok(asked(unplanned.step({ type: 'planFailed', blob: BLOB })).length > 0)
  })
})

test('hosts of other zones take no place of neighbours from those of the own', () => {
  const host = zoned()
  const far = range(0, 30).map((i) => `more${i}`)
  assert.equal(of(meet(host, far), 'connect').length, 30)
  const near = range(0, 30).map((i) => ({ id: `n${i}`, name: '', addrs: [] }))
  assert.equal(of(host.step({ type: 'peers', peers: near }), 'connect').length, 19)
})
