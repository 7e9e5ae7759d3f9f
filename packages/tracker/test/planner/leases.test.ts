import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '@layerswarm/core/digest.ts'
import { layoutOf, RUN_PIECES } from '@layerswarm/core/piece-layout.ts'
import { FIRST_PLAN_RUNS, SILENT_MS } from '../../src/planner/limits.ts'
import { blobOfRuns, digestNamed, piecesOf, RUN_BYTES, SCOPE, TestFleet } from './test-fleet.ts'

const blob = blobOfRuns(64)

test('the first eight askers get two runs each, in order, and the ninth none', () => {
  const fleet = new TestFleet()
  const leased = Array.from({ length: 9 }, (_, i) => fleet.ask(`h${i}`, blob))
  assert.deepEqual(
    leased.slice(0, 8).flat(),
    Array.from({ length: 16 }, (_, i) => i)
  )
  assert.deepEqual(leased[8], [])
})

test('run 0 of every layer goes out before a second run of any, and many layers are shared by the first askers', () => {
  const fleet = new TestFleet()
  const layers = Array.from({ length: 12 }, (_, i) => blobOfRuns(4, `layer ${i}`))
  const runs = (host: string) => {
    fleet.join(host)
    return fleet.plan(host, layers).blobs.map(({ leases }) => leases.map(({ run }) => run))
  }
  assert.deepEqual(
    runs('a'),
    layers.map((_, i) => (i < FIRST_PLAN_RUNS ? [0] : []))
  )
  const second = runs('b')
  assert.ok(second.slice(FIRST_PLAN_RUNS).every(([run]) => run === 0))
  assert.ok(!second.slice(0, FIRST_PLAN_RUNS).flat().includes(0))
})

test('alone with many layers, a host gets the next one as it works off the first', () => {
  const fleet = new TestFleet()
  const layers = Array.from({ length: 12 }, (_, i) => blobOfRuns(1, `layer ${i}`))
  fleet.join('a')
  fleet.plan('a', layers)
  const digests = () => fleet.of('a', 'leases').map(({ blob: digest }) => layers.findIndex((layer) => layer.digest === digest))
  for (const { digest } of layers.slice(0, 2)) fleet.report('a', digest, piecesOf(0))
  assert.deepEqual(digests(), [6, 7])
  fleet.run(500, ['a'], layers[0]?.digest)
  assert.deepEqual(digests(), [6, 7], 'the others may be fetched by hosts that ask later')
  fleet.report('a', layers[2]?.digest as Digest, piecesOf(0))
  // Six in hand are more than it fetches in 250 ms.
  assert.deepEqual(digests(), [6, 7, 8])
})

const smallLayers = Array.from({ length: 64 }, (_, i) => ({ digest: digestNamed(`small ${i}`), size: 200_000 }))

/** Which of the small layers a host was ever leased. */
function smallLeasedTo(fleet: TestFleet, host: string): number[] {
  const plans = fleet.of(host, 'plan').flatMap(({ blobs }) => blobs.flatMap(({ leases }) => leases))
  const later = fleet.of(host, 'leases').flatMap(({ grant }) => grant)
  const leased = new Set([...plans, ...later].map(({ blob }) => smallLayers.findIndex(({ digest }) => digest === blob)))
  return [...leased].filter((layer) => layer >= 0).sort((a, b) => a - b)
}

test('many small layers are shared with hosts that ask a second later', () => {
  const fleet = new TestFleet()
  for (const host of ['a', 'b']) {
    fleet.join(host)
    fleet.plan(host, smallLayers)
    fleet.run(1000, ['a'], smallLayers[0]?.digest)
  }
  assert.deepEqual(smallLeasedTo(fleet, 'a'), [0, 1, 2, 3, 4, 5])
  assert.deepEqual(smallLeasedTo(fleet, 'b'), [6, 7, 8, 9, 10, 11])
})

test('a host has as many small layers in hand as it fetches in 250 ms', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  fleet.plan('a', smallLayers)
  for (const { digest, size } of smallLayers.slice(0, 5)) {
    fleet.now += 20
    fleet.report('a', digest, [0], [], size)
  }
  fleet.run(200, ['a'], smallLayers[0]?.digest)
  // Ten megabytes a second: twelve and a half layers.
  assert.equal(smallLeasedTo(fleet, 'a').length - 5, 13)
})

test('small layers do not wait for a large one in the same hands', () => {
  const fleet = new TestFleet()
  fleet.ask('a', blob)
  fleet.now += 1000
  fleet.report('a', blob.digest, piecesOf(0, 1))
  fleet.plan('a', smallLayers)
  fleet.run(100)
  assert.equal(smallLeasedTo(fleet, 'a').length, FIRST_PLAN_RUNS)
})

test('the first blob of another plan is leased at once, however much the host has in hand', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  fleet.plan('a', smallLayers)
  const manifest = { digest: digestNamed('manifest'), size: 1000 }
  assert.deepEqual(
    fleet.plan('a', [manifest]).blobs[0]?.leases.map(({ run }) => run),
    [0]
  )
})

test('a layer that a client waits for is leased to a host however much it has in hand', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  fleet.plan('a', smallLayers)
  fleet.run(500, ['a'], smallLayers[0]?.digest)
  fleet.say('a', { t: 'orphans', blob: smallLayers[40]?.digest as Digest, pieces: [0] })
  assert.deepEqual(smallLeasedTo(fleet, 'a'), [0, 1, 2, 3, 4, 5, 40])
})

test('a slow host gets nothing because the others are busy', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  fleet.join('slow')
  fleet.say('a', { t: 'plan', id: 1, scope: SCOPE, blobs: smallLayers, origin: true, want: true, rate: 10_000_000 })
  fleet.say('slow', { t: 'plan', id: 1, scope: SCOPE, blobs: smallLayers, origin: true, want: true, rate: 1_000_000 })
  fleet.run(500, ['a', 'slow'], smallLayers[0]?.digest)
  assert.equal(smallLeasedTo(fleet, 'a').length, FIRST_PLAN_RUNS)
  assert.deepEqual(smallLeasedTo(fleet, 'slow'), [])
})

test('a holder gets as many runs as it fetches in 250 ms, within bounds', () => {
  const fleet = new TestFleet()
  const big = blobOfRuns(400, 'big')
  for (const host of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) fleet.ask(host, big)
  fleet.now += 100
  fleet.report('a', big.digest, piecesOf(0, 1), [], 2 * RUN_BYTES)
  // 2 runs in 100 ms: 5 in 250 ms.
  assert.equal(fleet.of('a', 'leases').at(-1)?.grant.length, 5)
  fleet.now += 100
  fleet.report('b', big.digest, piecesOf(2), [], RUN_BYTES / 8)
  assert.equal(fleet.of('b', 'leases').at(-1)?.grant.length, 1, 'a slow one keeps two')
  fleet.now += 10_000
  fleet.report('c', big.digest, piecesOf(4, 5), [], 5000 * RUN_BYTES)
  assert.equal(fleet.of('c', 'leases').at(-1)?.grant.length, 32)
})

test('a lone holder is never short: 16 runs, where it fetches them in about a second', () => {
  const grantAfter = (ms: number) => {
    const fleet = new TestFleet()
    assert.deepEqual(fleet.ask('a', blob), [0, 1])
    fleet.now += ms
    fleet.report('a', blob.digest, piecesOf(0, 1))
    return fleet.of('a', 'leases').at(-1)?.grant.length
  }
  assert.equal(grantAfter(100), 16)
  assert.equal(grantAfter(1000), 4, 'hosts that ask a moment later would wait for its uplink')
})

test('the last runs are shared out, not taken by one', () => {
  const fleet = new TestFleet()
  const small = blobOfRuns(20, 'small')
  for (const host of ['a', 'b', 'c', 'd']) fleet.ask(host, small)
  fleet.now += 100
  fleet.report('a', small.digest, piecesOf(0, 1), [], 100 * RUN_BYTES)
  assert.equal(fleet.of('a', 'leases').at(-1)?.grant.length, 3, '12 left, 4 holders')
})

test('a run is done only when it is fetched and a peer has announced it', () => {
  const fleet = new TestFleet()
  const two = blobOfRuns(2, 'two')
  fleet.ask('a', two)
  fleet.ask('b', two)
  fleet.now += 100
  fleet.report('a', two.digest, piecesOf(0, 1), piecesOf(0))
  fleet.leave('a')
  assert.deepEqual(fleet.told('b'), [1], 'run 0 is with b, run 1 died with a')
  assert.equal(fleet.of('b', 'leases')[0]?.grant[0]?.instead, 'a')
})

test('a silent holder loses its runs to others after a while and is told; new leases name it', () => {
  const fleet = new TestFleet()
  fleet.ask('a', blob)
  fleet.ask('b', blob)
  fleet.run(SILENT_MS - 100, ['b'], blob.digest)
  assert.deepEqual(fleet.of('a', 'leases'), [])
  // Its own runs are not moving either, but b speaks.
  fleet.report('b', blob.digest, piecesOf(2, 3), piecesOf(2, 3), 40 * RUN_BYTES)
  fleet.run(200, ['b'], blob.digest)
  assert.deepEqual(fleet.of('a', 'leases').at(-1)?.revoke, [0, 1])
  const again = fleet
    .of('b', 'leases')
    .flatMap(({ grant }) => grant)
    .filter(({ run }) => run < 2)
  assert.deepEqual(
    again.map(({ run, instead }) => [run, instead]),
    [
      [0, 'a'],
      [1, 'a']
    ]
  )
})

test('a host that was given up holds again once it speaks', () => {
  const fleet = new TestFleet()
  const one = blobOfRuns(1, 'one')
  fleet.ask('a', one)
  fleet.ask('b', one, { origin: false })
  fleet.run(SILENT_MS + 100)
  assert.deepEqual(fleet.of('a', 'leases').at(-1)?.revoke, [0])
  fleet.run(5000)
  assert.deepEqual(fleet.told('a'), [])
  fleet.say('a', { t: 'orphans', blob: one.digest, pieces: [0] })
  fleet.run(100)
  assert.deepEqual(fleet.told('a'), [0])
})

test('when the tracker itself was held up nobody is silent', () => {
  const fleet = new TestFleet()
  fleet.ask('a', blob)
  fleet.ask('b', blob)
  fleet.now += 2 * SILENT_MS
  fleet.run(SILENT_MS)
  assert.deepEqual(fleet.of('a', 'leases'), [])
  fleet.run(300)
  assert.equal(fleet.of('a', 'leases').length, 1)
})

test('a closed connection gives leases back at once', () => {
  const fleet = new TestFleet()
  for (let i = 0; i < 9; i++) fleet.ask(`h${i}`, blob)
  fleet.leave('h0')
  assert.deepEqual(fleet.told('h8'), [0, 1], 'the waiting asker takes the place')
  assert.ok(fleet.of('h8', 'leases')[0]?.grant.every(({ instead }) => instead === 'h0'))
})

test('a run without progress is late; one that progresses on a slow link is not', () => {
  const fleet = new TestFleet()
  fleet.ask('stuck', blob)
  fleet.ask('slow', blob)
  // 80 Mbit/s over eight holders: a run of 2 MiB takes 1.7 s, a piece 0.2 s.
  for (let i = 0; i < 100; i++) {
    fleet.now += 100
    fleet.report('stuck', blob.digest, [], [], 0)
    fleet.report('slow', blob.digest, i % 2 === 0 ? [16 + i / 2] : [], [], 131_072)
    fleet.now -= 100
    fleet.run(100)
  }
  assert.deepEqual(
    fleet.of('slow', 'leases').flatMap(({ revoke }) => revoke),
    []
  )
  assert.deepEqual(fleet.of('stuck', 'leases')[0]?.revoke, [0, 1])
})

test('a registry that gives nobody anything makes no holder late at once', () => {
  const fleet = new TestFleet()
  for (const host of ['a', 'b', 'c']) fleet.ask(host, blob)
  fleet.run(3000, ['a', 'b', 'c'], blob.digest)
  for (const host of ['a', 'b', 'c']) assert.deepEqual(fleet.of(host, 'leases'), [])
})

test('a host known to be slow holds nothing while another can, and everything when it is alone', () => {
  const fleet = new TestFleet()
  for (const host of ['a', 'b', 'c']) fleet.ask(host, blob, { rate: 100e6 })
  assert.deepEqual(fleet.ask('slow', blob, { rate: 10e6 }), [])
  for (const host of ['a', 'b', 'c']) fleet.leave(host)
  fleet.run(100)
  assert.ok(fleet.told('slow').length > 0)
})

test('bytes that are reported before their piece is whole count once', () => {
  const fleet = new TestFleet()
  fleet.ask('a', blob)
  fleet.ask('b', blob)
  const piece = layoutOf(1).pieceSize
  for (let i = 1; i <= 40; i++) {
    fleet.report('a', blob.digest, i % 10 === 0 ? [i / 10 - 1] : [], [], piece / 10)
    fleet.run(100)
  }
  const rate = fleet.state.hosts.get('a')?.meter.rate ?? 0
  assert.ok(Math.abs(rate / piece - 1) < 0.25, `${rate} bytes a second of ${piece}`)
})

test('a holder that turns out slow gives its runs up for good', () => {
  const fleet = new TestFleet()
  for (const host of ['a', 'b', 'slow']) fleet.ask(host, blob)
  for (let i = 0; i < 32; i++) {
    fleet.now += 100
    // A piece of each run on the way, so that none is late.
    const pieces = (...runs: number[]): number[] => (i === 16 ? runs.map((run) => run * RUN_PIECES) : [])
    fleet.report('a', blob.digest, pieces(0, 1), [], 10_000_000)
    fleet.report('b', blob.digest, pieces(2, 3), [], 10_000_000)
    fleet.report('slow', blob.digest, pieces(4, 5), [], 1_000_000)
    fleet.now -= 100
    fleet.run(100)
  }
  assert.deepEqual(fleet.told('slow'), [])
  assert.deepEqual(fleet.ask('c', blob), [4, 5], 'they go to the head of the queue')
  fleet.ask('d', blob)
  for (const host of ['a', 'b', 'c']) fleet.leave(host)
  fleet.run(200)
  assert.deepEqual(fleet.told('slow'), [])
})

test('a holder that gets as much as the others, but in bursts, is not slow', () => {
  const fleet = new TestFleet()
  for (const host of ['a', 'b', 'bursts']) fleet.ask(host, blob)
  for (let i = 1; i <= 80; i++) {
    const ofEachRun = (...runs: number[]): number[] => (i % 20 === 0 ? runs.map((run) => run * RUN_PIECES + i / 20) : [])
    fleet.report('a', blob.digest, ofEachRun(0, 1), [], 200_000)
    fleet.report('b', blob.digest, ofEachRun(2, 3), [], 200_000)
    fleet.report('bursts', blob.digest, ofEachRun(4, 5), [], i % 20 === 0 ? 4_000_000 : 0)
    fleet.run(100)
  }
  assert.deepEqual(
    fleet.of('bursts', 'leases').flatMap(({ revoke }) => revoke),
    []
  )
})

test('denied bars the host for the blob', () => {
  const fleet = new TestFleet()
  fleet.ask('a', blob)
  fleet.say('a', { t: 'release', blob: blob.digest, runs: [0, 1], reason: 'denied', bar: true })
  assert.deepEqual(fleet.ask('b', blob), [0, 1])
  fleet.leave('b')
  fleet.run(3000)
  assert.deepEqual(fleet.of('a', 'leases'), [])
  assert.deepEqual(fleet.plan('a', [blob]).blobs[0]?.leases, [])
})

test('where all turned out slow, they still fetch rather than nobody', () => {
  const fleet = new TestFleet()
  for (const host of ['a', 'slow']) fleet.ask(host, blob)
  for (let i = 0; i < 32; i++) {
    fleet.report('a', blob.digest, [], [], 10_000_000)
    fleet.report('slow', blob.digest, [], [], 1_000_000)
    fleet.run(100)
  }
  assert.deepEqual(fleet.told('slow'), [])
  fleet.say('a', { t: 'release', blob: blob.digest, runs: [], reason: 'denied', bar: true })
  fleet.run(200)
  assert.ok(fleet.told('slow').length > 0)
})

test('a host whose own request for the repository failed holds nothing', () => {
  const fleet = new TestFleet()
  assert.deepEqual(fleet.ask('a', blob, { origin: false }), [])
  fleet.run(3000)
  assert.deepEqual(fleet.told('a'), [])
})

test('a busy registry lowers the number of holders, a failing one pauses the host', () => {
  const fleet = new TestFleet()
  for (let i = 0; i < 4; i++) fleet.ask(`h${i}`, blob)
  fleet.say('h0', { t: 'release', blob: blob.digest, runs: [0, 1], reason: 'busy', bar: false })
  assert.deepEqual(fleet.ask('late', blob), [], 'three are enough now')
  fleet.clear()
  fleet.say('h1', { t: 'release', blob: blob.digest, runs: [2, 3], reason: 'failed', bar: false })
  fleet.run(900, ['h2', 'h3'], blob.digest)
  assert.deepEqual(fleet.told('h1'), [])
})

test('three failures bar the host', () => {
  const fleet = new TestFleet()
  const one = blobOfRuns(1, 'one')
  fleet.ask('a', one)
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(fleet.told('a'), [0])
    fleet.say('a', { t: 'release', blob: one.digest, runs: [0], reason: 'failed', bar: false })
    fleet.clear()
    fleet.run(1200)
  }
  assert.deepEqual(fleet.told('a'), [])
})

test('without Range one host streams and the others leave the registry alone', () => {
  const fleet = new TestFleet()
  for (const host of ['a', 'b', 'c']) fleet.ask(host, blob)
  fleet.say('b', { t: 'report', blob: blob.digest, got: [], spread: [], bytes: 1000, whole: true })
  assert.deepEqual(fleet.of('a', 'leases').at(-1)?.revoke, [0, 1])
  assert.deepEqual(fleet.of('c', 'leases').at(-1)?.revoke, [4, 5])
  assert.deepEqual(fleet.ask('d', blob), [])
  fleet.now += 100
  fleet.say('b', { t: 'report', blob: blob.digest, got: piecesOf(2, 3), spread: [], bytes: 2 * RUN_BYTES, whole: true })
  assert.ok(fleet.told('b').includes(0) && fleet.told('b').includes(6), 'the streaming host gets everything')
  fleet.leave('b')
  fleet.run(100)
  const next = ['a', 'c', 'd'].filter((host) => fleet.of(host, 'leases').some(({ grant }) => grant.length > 0))
  assert.equal(next.length, 1)
})

test('cancel gives leases back to others', () => {
  const fleet = new TestFleet()
  for (let i = 0; i < 9; i++) fleet.ask(`h${i}`, blob)
  fleet.say('h0', { t: 'cancel', blob: blob.digest })
  fleet.run(100)
  assert.ok(fleet.told('h8').includes(0))
})

test('nothing is leased of a blob that somebody holds', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  fleet.hold('a', blob)
  assert.deepEqual(fleet.ask('b', blob), [])
  assert.equal(fleet.plan('b', [blob]).blobs[0]?.complete, 1)
})

test('a plan asked again brings the leases in hand again', () => {
  const fleet = new TestFleet()
  fleet.ask('a', blob)
  assert.deepEqual(
    fleet.plan('a', [blob]).blobs[0]?.leases.map(({ run }) => run),
    [0, 1]
  )
})

test('an unknown size waits until somebody names it', () => {
  const fleet = new TestFleet()
  fleet.join('a')
  assert.deepEqual(fleet.plan('a', [{ digest: blob.digest }]).blobs[0], { digest: blob.digest, known: false, complete: 0, leases: [] })
  assert.deepEqual(
    fleet.plan('a', [blob]).blobs[0]?.leases.map(({ run }) => run),
    [0, 1]
  )
  fleet.join('b')
  assert.equal(fleet.plan('b', [{ digest: blob.digest }]).blobs[0]?.size, blob.size)
})

test('a host that sees another size gets knowledge only', () => {
  const fleet = new TestFleet()
  fleet.ask('a', blob)
  fleet.join('b')
  const [planned] = fleet.plan('b', [{ digest: blob.digest, size: blob.size + 1 }]).blobs
  assert.equal(planned?.size, blob.size)
  assert.deepEqual(planned?.leases, [])
})
