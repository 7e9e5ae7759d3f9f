import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Digest } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import type { Holding } from '@layerswarm/core/wire/directory-protocol.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { MemoryContentIndex } from '@layerswarm/testkit/memory-content-index.ts'
import { pino } from 'pino'
import { Announcer } from '../../src/directory/announcer.ts'

const log = pino({ level: 'silent' })
const SCOPE = 'docker.io/library/app'

interface Change {
  readonly add: readonly Holding[]
  readonly drop: readonly Digest[]
}

function setUp() {
  const store = new MemoryBlobStore()
  const index = new MemoryContentIndex()
  const announcer = new Announcer({ store, index, log })
  const told: Change[] = []
  const next = async (): Promise<Change> => {
    while (told.length === 0) await turn()
    return told.shift() as Change
  }
  return { store, index, announcer, told, next, directory: { announce: (change: Change) => void told.push(change) } }
}

async function put(store: MemoryBlobStore, size: number): Promise<{ digest: Digest; size: number }> {
  const blob = fixtureBlob(size)
  await using partial = await store.begin(blob.digest, blob.layout)
  for (let piece = 0; piece < blob.layout.pieces; piece++) await partial.write(piece, blob.piece(piece))
  await partial.commit()
  return { digest: blob.digest, size }
}

test('commits and removals are told as they happen', async () => {
  const { store, announcer, next, directory } = setUp()
  await using _ = announcer
  announcer.start(directory)
  const blob = await put(store, 1000)
  assert.deepEqual(await next(), { add: [blob], drop: [] })
  await store.delete(blob.digest)
  assert.deepEqual(await next(), { add: [], drop: [blob.digest] })
})

test('a snapshot lists what is complete; a manifest goes with its type and scopes', async () => {
  const { store, index, announcer } = setUp()
  await using _ = announcer
  const [manifest, layer] = [await put(store, 700), await put(store, 5000)]
  const mediaType = MEDIA_TYPES.ociManifest
  await index.link(SCOPE, [
    { ...manifest, mediaType },
    { ...layer, mediaType: 'application/vnd.oci.image.layer.v1.tar' }
  ])
  await index.link('docker.io/library/other', [{ ...manifest, mediaType }])
  const unfinished = fixtureBlob(600_000)
  await using partial = await store.begin(unfinished.digest, unfinished.layout)
  await partial.write(0, unfinished.piece(0))
  const held = new Map((await Array.fromAsync(announcer.snapshot())).map((one) => [one.digest, one]))
  assert.deepEqual(held.get(manifest.digest), { ...manifest, mediaType, scopes: [SCOPE, 'docker.io/library/other'] })
  assert.deepEqual(held.get(layer.digest), layer)
  assert.equal(held.size, 2)
})

test('a manifest that is linked after it was stored is told again', async () => {
  const { store, announcer, next, told, directory } = setUp()
  await using _ = announcer
  announcer.start(directory)
  const manifest = await put(store, 700)
  assert.deepEqual(await next(), { add: [manifest], drop: [] })
  const mediaType = MEDIA_TYPES.ociIndex
  const elsewhere = { digest: fixtureBlob(20).digest, size: 20, mediaType }
  await announcer.watched().link(SCOPE, [{ ...manifest, mediaType }, elsewhere])
  assert.deepEqual(await next(), { add: [{ ...manifest, mediaType, scopes: [SCOPE] }], drop: [] })
  assert.deepEqual(told, [], 'of what is not here nothing is told')
})

test('an index that cannot be read costs the scopes, not the holding', async () => {
  const { store, index, announcer, next, directory } = setUp()
  await using _ = announcer
  announcer.start(directory)
  index.broken = new Error('disk')
  const blob = await put(store, 1000)
  assert.deepEqual(await next(), { add: [blob], drop: [] })
})
