import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { Entry } from '../../src/store/catalog.ts'
import { ChangeFeed } from '../../src/store/change-feed.ts'
import { Room, type RoomDeps } from '../../src/store/room.ts'

/** A store of so many blobs that all have to go. */
function overfull(blobs: number) {
  const entries = new Map<Digest, Entry>()
  for (let at = 0; at < blobs; at++) {
    const digest = `sha256:${String(at).padStart(64, '0')}` as Digest
    entries.set(digest, { digest, size: 1, bytes: 1, state: 'complete', usedAt: 0, savedAt: 0 } as Entry)
  }
  const removed: Digest[] = []
  const fake = {
    catalog: {
      victims: () => ({ victims: [...entries.keys()], fits: true }),
      get: (digest: Digest) => entries.get(digest),
      remove: (digest: Digest) => entries.delete(digest),
      forget: async () => undefined
    },
    files: { removeBlob: async (digest: Digest) => void removed.push(digest) },
    pool: { forget: async () => undefined }
  }
  const deps = { ...fake, changes: new ChangeFeed(), inUse: () => false, log: undefined } as unknown as RoomDeps
  return { room: new Room(deps, { maxBytes: 0 }), removed, entries, files: fake.files }
}

test('an eviction goes until all is within the bound', async () => {
  const { room, removed, entries } = overfull(200)
  assert.deepEqual(await room.evict(), removed)
  assert.deepEqual([removed.length, entries.size], [200, 0])
})

test('an eviction that is given up removes no more', async () => {
  const { room, removed, entries, files } = overfull(200)
  const stop = new AbortController()
  files.removeBlob = async (digest) => {
    removed.push(digest)
    stop.abort(new Error('enough'))
  }
  await assert.rejects(room.evict({ signal: stop.signal }), /enough/)
  assert.ok(removed.length < 100, `${removed.length} removed`)
  assert.equal(entries.size, 200 - removed.length)
})
