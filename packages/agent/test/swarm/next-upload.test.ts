import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { UploadRequest } from '../../src/ports.ts'
import { nextUpload } from '../../src/swarm/policy.ts'
import { BLOB } from './test-host.ts'

const waiting = (...requests: [served: number, rate: number][]): UploadRequest[] =>
  requests.map(([served, rate], i) => ({ peer: `p${i}`, blob: BLOB, piece: i, served, rate }))

test('a piece never served comes first, whoever asks for it, then one served once', () => {
  assert.equal(nextUpload(waiting([5, 0], [1, 0], [0, 900])), 2)
  assert.equal(nextUpload(waiting([5, 0], [2, 0], [1, 900])), 2)
})

test('among fresh pieces it is first come, first served', () => {
  assert.equal(nextUpload(waiting([3, 0], [0, 50], [0, 1])), 1)
  assert.equal(nextUpload(waiting([1, 50], [1, 1])), 0)
})

test('of pieces that are around, whoever is slowest is served, then first come', () => {
  assert.equal(nextUpload(waiting([2, 40], [9, 3], [4, 20])), 1)
  assert.equal(nextUpload(waiting([2, 7], [9, 7], [4, 7])), 0)
  assert.equal(nextUpload(waiting([2, 7])), 0)
})
