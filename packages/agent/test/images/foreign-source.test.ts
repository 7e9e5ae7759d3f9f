import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PushProgress } from '@layerswarm/core/api/push-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { formatReference } from '@layerswarm/core/image/reference.ts'
import { describeBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob } from '@layerswarm/testkit/blob-steps.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { MemoryContentIndex } from '@layerswarm/testkit/memory-content-index.ts'
import { buildImage } from '@layerswarm/testkit/oci-image.ts'
import pino from 'pino'
import { type PushDeps, pushImage } from '../../src/images/push.ts'
import { foreignSource } from '../../src/images/sources.ts'
import type { ForeignSource, ImageService, RegistryUploads } from '../../src/ports.ts'

const built = await buildImage({ layers: [{ seed: 'foreign', size: 1000 }] })
const [layer] = built.layers
assert.ok(layer)
const content = new Map<Digest, Uint8Array>(built.manifests.map(({ descriptor, bytes }) => [descriptor.digest, bytes]))
for (const [digest, blob] of built.blobs) content.set(digest, Buffer.concat(await Array.fromAsync(blob.open())))

/** Another program whose image is known once it was looked at, and whose blobs are there once they are proven. */
class Unproven implements ForeignSource {
  readonly store = new MemoryBlobStore()
  readonly bad = new Set<Digest>()
  #looked = false

  async look(): Promise<void> {
    this.#looked = true
  }

  root(image: Parameters<ForeignSource['root']>[0]) {
    return this.#looked && formatReference(image) === 'registry.example.com/app:1' ? built.root : undefined
  }

  async prove(digest: Digest, { onProgress }: Parameters<ForeignSource['prove']>[1] = {}): Promise<boolean | undefined> {
    if (this.bad.has(digest)) return false
    if ((await this.store.stat(digest)) !== undefined) return true
    onProgress?.(1)
    await addBlob(this.store, describeBlob(content.get(digest) ?? new Uint8Array(0)))
    return true
  }

  async open(image = 'registry.example.com/app:1') {
    const unasked = async () => assert.fail('the registry of the image is asked')
    const images = { find: unasked, manifest: unasked, blob: unasked } as unknown as ImageService
    return await foreignSource({ store: this.store, foreign: this, images, index: new MemoryContentIndex() }, image)
  }
}

/** A registry that lacks everything, and whatever a push needs beside it. */
function pushing(events: string[]): PushDeps {
  const uploads: Pick<RegistryUploads, 'blob' | 'manifest'> = {
    async blob({ digest }, _size, from, { prepare } = {}) {
      await prepare?.()
      events.push(`opened ${digest}`)
      const sent = Buffer.concat(await Array.fromAsync(from(0)))
      assert.deepEqual(sent, Buffer.from(content.get(digest) ?? []))
      return 'sent'
    },
    manifest: async () => ({})
  }
  const unasked = async () => assert.fail('nothing is read from the registry')
  return {
    uploads: uploads as RegistryUploads,
    registry: { resolve: unasked, content: unasked },
    images: { moved: () => undefined },
    index: new MemoryContentIndex(),
    clock: new ManualClock(),
    log: pino({ level: 'silent' })
  }
}

test('what was imported a moment ago is looked at and hashed first, which shows, and then pushed', async () => {
  const foreign = new Unproven()
  await using store = foreign.store
  const events: string[] = []
  await using source = await foreign.open()
  const onProgress = ({ digest, hashed, done }: PushProgress) => events.push(`${hashed === undefined ? done : 'hashed'} ${digest}`)
  const { sent, bytes } = await pushImage(pushing(events), 'registry.example.com/app:2', source, { onProgress })
  assert.equal(sent, bytes)
  const ofLayer = events.filter((event) => event.endsWith(layer.digest))
  assert.deepEqual(ofLayer, [`hashed ${layer.digest}`, `opened ${layer.digest}`, `true ${layer.digest}`])
  assert.equal((await store.stat(layer.digest))?.state, 'complete')
})

test('what is corrupt is not sent, and what is not known is said to be unknown there', async () => {
  const foreign = new Unproven()
  await using _store = foreign.store
  await assert.rejects(foreign.open('registry.example.com/none:1'), { code: 'IMAGE_UNKNOWN', message: /in containerd/ })
  foreign.bad.add(layer.digest)
  await using source = await foreign.open()
  const events: string[] = []
  const pushed = pushImage(pushing(events), 'registry.example.com/app:2', source)
  await assert.rejects(pushed, { code: 'DIGEST_MISMATCH', message: /in containerd/, blame: 'local' })
  assert.ok(!events.includes(`opened ${layer.digest}`))
})
