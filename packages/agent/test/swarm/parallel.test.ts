import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '@layerswarm/core/digest.ts'
import { layoutOf } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import { addCopy } from '../../src/swarm/derived.ts'
import { backOff, noteThroughput } from '../../src/swarm/parallel.ts'
import { type BlobState, createBlob, createState } from '../../src/swarm/state.ts'

const PIECE = 256 * 1024

function blob(): BlobState {
  const layout = layoutOf(1024 * PIECE)
  const state = createState('self', () => 0, true)
  return createBlob(state, `sha256:${'0'.repeat(64)}` as Digest, layout, new PieceSet(layout.pieces), 0)
}

/** Pieces come in at what `rate` says of the number of connections, in bytes a millisecond, for `ms`. */
function run(one: BlobState, from: number, ms: number, rate: (streams: number) => number): number[] {
  const used: number[] = []
  let now = from
  while (now < from + ms) {
    now += PIECE / rate(one.parallel.streams)
    noteThroughput(one, PIECE, now)
    if (used.at(-1) !== one.parallel.streams) used.push(one.parallel.streams)
  }
  return used
}

test('connections double while that pays and stay where the link is full', () => {
  const one = blob()
  const used = run(one, 0, 5000, (streams) => Math.min(streams * 2500, 10_000))
  assert.deepEqual(used, [1, 2, 4, 8, 4])
})

test('a registry that gives one connection the whole link keeps one', () => {
  const one = blob()
  assert.deepEqual(
    run(one, 0, 5000, () => 10_000),
    [1, 2, 1]
  )
  assert.deepEqual(
    run(one, 5000, 3000, () => 10_000),
    [1],
    'it is not tried again at once'
  )
})

test('a registry that objects halves them, and is not asked for as many again', () => {
  const one = blob()
  run(one, 0, 1500, (streams) => streams * 2500)
  assert.equal(one.parallel.streams, 8)
  backOff(one, 1500)
  assert.equal(one.parallel.streams, 4)
  run(one, 1500, 30_000, (streams) => streams * 2500)
  assert.equal(one.parallel.streams, 4)
})

test('a host among others that fetch the same blob keeps to its share', () => {
  const one = blob()
  const state = createState('self', () => 0, true)
  for (const peer of ['a', 'b', 'c']) addCopy(state, one, peer, 0)
  assert.deepEqual(
    run(one, 0, 5000, (streams) => streams * 2500),
    [1, 2]
  )
})
