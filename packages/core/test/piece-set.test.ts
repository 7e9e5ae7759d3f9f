import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PieceSet } from '../src/piece-set.ts'

const pieces = fc.integer({ min: 0, max: 200 }).chain((length) =>
  fc.record({
    length: fc.constant(length),
    a: length === 0 ? fc.constant<number[]>([]) : fc.uniqueArray(fc.integer({ min: 0, max: length - 1 })),
    b: length === 0 ? fc.constant<number[]>([]) : fc.uniqueArray(fc.integer({ min: 0, max: length - 1 })),
    from: fc.integer({ min: 0, max: length })
  })
)

test('a piece set behaves like a set of numbers', () => {
  fc.assert(
    fc.property(pieces, ({ length, a, b, from }) => {
      const model = new Set(a)
      const set = PieceSet.of(length, a)
      assert.deepEqual(
        [...set],
        [...model].sort((x, y) => x - y)
      )
      assert.equal(set.count, model.size)
      assert.equal(set.complete, model.size === length)
      const missing = Array.from({ length }, (_, i) => i).find((i) => i >= from && !model.has(i)) ?? length
      assert.equal(set.firstMissing(from), missing)
      const other = PieceSet.of(length, b)
      const common = [...model].filter((i) => b.includes(i) && i >= from)
      assert.equal(set.firstCommon([other], from), common.length === 0 ? -1 : Math.min(...common))
      for (const r of [0, 0.3, 0.999]) {
        const all = [...model].filter((i) => b.includes(i)).sort((x, y) => x - y)
        assert.equal(
          set.randomCommon([other], () => r),
          all[Math.floor(r * all.length)] ?? -1
        )
      }
      for (const piece of b) assert.equal(set.remove(piece), model.delete(piece))
      assert.deepEqual(
        [...set],
        [...model].sort((x, y) => x - y)
      )
    })
  )
})

test('what is encoded reads back, bit 0 of byte 0 being piece 0', () => {
  fc.assert(
    fc.property(pieces, ({ length, a }) =>
      assert.deepEqual([...PieceSet.decode(length, PieceSet.of(length, a).encode())], [...PieceSet.of(length, a)])
    )
  )
  assert.deepEqual([...PieceSet.of(10, [0, 9]).encode()], [1, 2])
  assert.deepEqual([...PieceSet.full(33)].length, 33)
})

test('bits beyond the length are ignored and a wrong length is refused', () => {
  assert.equal(PieceSet.decode(3, Uint8Array.of(0xff)).count, 3)
  assert.throws(() => PieceSet.decode(9, Uint8Array.of(1)), RangeError)
  const set = new PieceSet(8)
  assert.equal(set.add(8), false)
  assert.equal(set.add(-1), false)
  assert.equal(set.add(3), true)
  assert.equal(set.add(3), false)
  assert.equal(set.count, 1)
})
