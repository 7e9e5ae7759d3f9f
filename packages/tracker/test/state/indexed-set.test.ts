import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { IndexedSet } from '../../src/state/indexed-set.ts'

test('it holds what a plain set holds, each item at one place', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ add: fc.boolean(), item: fc.nat(8) })), (steps) => {
      const plain = new Set<number>()
      const indexed = new IndexedSet<number>()
      for (const { add, item } of steps) {
        const before = plain.has(item)
        if (add) plain.add(item)
        else plain.delete(item)
        assert.equal(add ? indexed.add(item) : indexed.delete(item), before !== add)
        assert.equal(indexed.size, plain.size)
        assert.deepEqual([...indexed].toSorted(), [...plain].toSorted())
        assert.deepEqual(new Set(Array.from({ length: indexed.size }, (_, i) => indexed.at(i))), plain)
      }
    })
  )
})
