import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Candidates } from '../../src/state/candidates.ts'
import { addWant, blobOf, createFleet, createHost, removeWant } from '../../src/state/facts.ts'
import { digestNamed } from '../planner/test-fleet.ts'

function setUp(count: number) {
  const fleet = createFleet({ random: Math.random }, 0, 0)
  const blob = blobOf(fleet, digestNamed('layer'))
  const hosts = Array.from({ length: count }, (_, i) => createHost(`h${i}`, undefined, 0))
  for (const host of hosts) addWant(blob, host)
  const candidates = new Candidates(blob)
  for (const host of hosts) candidates.add(host)
  const names = () => [...candidates].map(({ id }) => id)
  return { fleet, blob, hosts, candidates, names }
}

test('candidates come in the order of asking, once each; one that is put back goes to the end', () => {
  const { hosts, candidates, names } = setUp(4)
  const [first, second] = hosts
  assert.ok(first && second)
  candidates.add(second)
  candidates.delete(first)
  candidates.delete(first)
  assert.deepEqual([names(), candidates.size, candidates.has(first)], [['h1', 'h2', 'h3'], 3, false])
  candidates.add(first)
  assert.deepEqual([names(), candidates.size, candidates.has(first)], [['h1', 'h2', 'h3', 'h0'], 4, true])
})

test('a host that does not fetch the blob is none, and one that fetches it no more has gone', () => {
  const { fleet, blob, hosts, candidates, names } = setUp(3)
  candidates.add(createHost('stranger', undefined, 0))
  assert.equal(candidates.size, 3)
  const [, middle] = hosts
  assert.ok(middle)
  candidates.delete(middle)
  removeWant(fleet, blob, middle)
  addWant(blob, middle)
  assert.deepEqual([names(), candidates.has(middle)], [['h0', 'h2'], false])
})

test('hosts that go to the end again and again leave nothing behind', () => {
  const { hosts, candidates, names } = setUp(100)
  for (let round = 0; round < 1000; round++) {
    const [head] = candidates
    assert.equal(head, hosts[round % hosts.length])
    if (head === undefined) continue
    candidates.delete(head)
    candidates.add(head)
  }
  assert.deepEqual([names().length, new Set(names()).size, candidates.size], [100, 100, 100])
})
