import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededRandom } from '../src/seeded-random.ts'

test('the same seed gives the same values, another seed others', () => {
  const draw = (seed: string) => {
    const random = new SeededRandom(seed)
    return [
      random.int(1000),
      random.pick(['a', 'b', 'c']),
      random.shuffle([1, 2, 3, 4, 5, 6, 7, 8]),
      Buffer.from(random.bytes(40)).toString('hex')
    ]
  }
  assert.deepEqual(draw('x'), draw('x'))
  assert.notDeepEqual(draw('x'), draw('y'))
})

test('values stay within their bounds and shuffling keeps every value', () => {
  const random = new SeededRandom(5)
  for (let i = 0; i < 1000; i++) assert.ok(random.int(3) < 3 && random.next() < 1)
  assert.deepEqual(random.shuffle([3, 1, 2]).sort(), [1, 2, 3])
  assert.throws(() => random.pick([]), RangeError)
  assert.equal(random.bytes(0).byteLength, 0)
})
