import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { SmallestFirst } from '../../src/store/smallest-first.ts'

test('the smallest comes first, whatever the order it went in', () => {
  const sizes = new SeededRandom('sizes').shuffle([...Array(50).keys(), 7, 7, 0])
  const queue = new SmallestFirst<number>((size) => size)
  for (const size of sizes) queue.push(size)
  assert.equal(queue.length, sizes.length)
  assert.deepEqual(
    sizes.map(() => queue.pop()),
    [...sizes].sort((a, b) => a - b)
  )
  assert.equal(queue.pop(), undefined)
})
