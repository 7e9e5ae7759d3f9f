import assert from 'node:assert/strict'
import { readlinkSync } from 'node:fs'
import { open, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf, hexOf } from '@layerswarm/core/digest.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import { buildImage, type TestImage } from '@layerswarm/testkit/oci-image.ts'
import { exportImage } from '../../src/images/export.ts'
import type { ImageSource } from '../../src/ports.ts'
import { TempDir } from '../store/temp-store.ts'

const NAME = 'registry.example.com/app:1'

async function built(): Promise<{ image: TestImage; layer: Descriptor; source: ImageSource }> {
  const image = await buildImage({ layers: [{ seed: 'exported', size: 200_000 }] })
  const [layer] = image.layers
  assert.ok(layer)
  return { image, layer, source: sourceOf(image) }
}

/** @param changed what it gives instead of its content */
function sourceOf(image: TestImage, changed: (content: Descriptor, bytes: Buffer) => Buffer = (_, bytes) => bytes): ImageSource {
  return {
    root: image.root,
    async *read(content) {
      const manifest = image.manifests.find(({ descriptor }) => descriptor.digest === content.digest)
      const blob = image.blobs.get(content.digest)
      const bytes = manifest?.bytes ?? Buffer.concat(await Array.fromAsync(blob?.open() ?? []))
      yield changed(content, Buffer.from(bytes))
    },
    [Symbol.asyncDispose]: async () => undefined
  }
}

/** What is synced from now on: paths, in order. */
async function watchSyncs(context: TestContext): Promise<string[]> {
  const synced: string[] = []
  await using any = await open('/dev/null')
  const prototype = Object.getPrototypeOf(any) as typeof any
  const original = prototype.sync
  context.mock.method(prototype, 'sync', async function (this: typeof any) {
    synced.push(readlinkSync(`/proc/self/fd/${this.fd}`))
    await original.call(this)
  })
  return synced
}

test('a blob of a layout that was damaged is written again, and one that is whole is not', async () => {
  await using dir = await TempDir.make()
  const { layer, source } = await built()
  const path = join(dir.path, 'layout')
  await exportImage(source, { kind: 'oci', path }, { name: NAME })
  const file = join(path, 'blobs/sha256', hexOf(layer.digest))
  const whole = await stat(file)
  await exportImage(source, { kind: 'oci', path }, { name: NAME })
  assert.equal((await stat(file)).ino, whole.ino)
  await writeFile(file, Buffer.alloc(layer.size))
  await exportImage(source, { kind: 'oci', path }, { name: NAME })
  assert.equal(digestOf(await readFile(file)), layer.digest)
})

test('content of another size than its manifest says, or that does not match, is not put in its place', async () => {
  const image = await buildImage({
    layers: [
      { seed: 'plain', size: 200_000, compression: 'none' },
      { seed: 'packed', size: 200_000, compression: 'gzip' }
    ]
  })
  const [plain, packed] = image.layers
  const longer = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1)])
  for (const [layer, code, change] of [
    [plain, 'SIZE_MISMATCH', longer],
    [packed, 'SIZE_MISMATCH', longer],
    [plain, 'SIZE_MISMATCH', (bytes: Buffer) => bytes.subarray(1)],
    [plain, 'DIGEST_MISMATCH', (bytes: Buffer) => Buffer.from(bytes).fill(0)]
  ] as const) {
    assert.ok(layer)
    await using dir = await TempDir.make()
    const source = sourceOf(image, ({ digest }, bytes) => (digest === layer.digest ? change(bytes) : bytes))
    for (const kind of ['oci', 'oci-archive', 'docker-archive'] as const) {
      await assert.rejects(exportImage(source, { kind, path: join(dir.path, kind) }, {}), { code }, kind)
    }
    assert.deepEqual(await readdir(dir.path), ['oci'])
    const left = await readdir(join(dir.path, 'oci'), { recursive: true })
    assert.ok(!left.includes('index.json') && left.every((name) => !name.includes(hexOf(layer.digest))), String(left))
  }
})

test('all of it is on the disk before it is named', async (context) => {
  await using dir = await TempDir.make()
  const { image, layer, source } = await built()
  const synced = await watchSyncs(context)
  const path = join(dir.path, 'layout')
  await exportImage(source, { kind: 'oci', path }, { name: NAME })
  const blobs = join(path, 'blobs/sha256')
  for (const { digest } of [layer, image.config, image.manifest]) assert.ok(synced.includes(`${join(blobs, hexOf(digest))}.part`))
  const index = synced.indexOf(join(path, 'index.json.part'))
  for (const folder of [blobs, join(path, 'blobs'), path, dir.path]) {
    const at = synced.indexOf(folder)
    assert.ok(at >= 0 && at < index, folder)
  }
  assert.ok(synced.lastIndexOf(path) > index)
  synced.length = 0
  await exportImage(source, { kind: 'oci-archive', path: join(dir.path, 'archive') }, { name: NAME })
  assert.deepEqual(synced, [join(dir.path, 'archive.part'), dir.path])
})
