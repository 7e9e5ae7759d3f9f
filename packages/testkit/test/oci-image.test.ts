// needs: tar umoci zstd
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { promisify } from 'node:util'
import { digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES, parseManifest } from '@layerswarm/core/image/manifest.ts'
import { buildImage, type ImageSpec, imageBytes, writeOciLayout } from '@layerswarm/testkit/oci-image.ts'

const run = promisify(execFile)

async function inDirectory(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'layerswarm-oci-image-'))
  try {
    await work(dir)
  } finally {
    await rm(dir, { recursive: true })
  }
}

const BASE = { seed: 'base', size: 200_000, files: { '/usr/bin/hello': { content: '#!/bin/sh\necho hello\n', mode: 0o755 } } }
const SPEC: ImageSpec = { layers: [BASE, { seed: 'plain', size: 100, compression: 'none' }], config: { Cmd: ['/usr/bin/hello'] } }

suite('an image', () => {
  test('is the same each time, in memory and in files', async () => {
    await inDirectory(async (dir) => {
      const [one, two] = [await buildImage(SPEC), await buildImage(SPEC, dir)]
      assert.equal(one.root.digest, two.root.digest)
      for (const image of [one, two]) {
        for (const { digest, size, open } of image.blobs.values()) {
          const bytes = Buffer.concat(await Array.fromAsync(open()))
          assert.deepEqual([digestOf(bytes), bytes.byteLength], [digest, size])
        }
      }
    })
  })

  test('shares layers with another one whose spec has them', async () => {
    const one = await buildImage(SPEC)
    const two = await buildImage({ ...SPEC, layers: [BASE, { seed: 'another', size: 100 }] })
    assert.equal(one.layers[0]?.digest, two.layers[0]?.digest)
    assert.notEqual(one.layers[1]?.digest, two.layers[1]?.digest)
  })

  for (const compression of ['gzip', 'zstd', 'none'] as const) {
    test(`has layers that ${compression === 'none' ? 'tar unpacks' : `${compression} and tar unpack`}`, async () => {
      await inDirectory(async (dir) => {
        const image = await buildImage({ layers: [{ ...BASE, compression }] })
        await writeOciLayout(image, dir, 'v1')
        const layer = join(dir, 'blobs', image.layers[0]?.digest.replace(':', '/') ?? '')
        await run('tar', ['-x', ...(compression === 'none' ? [] : [`--${compression}`]), '-f', layer, '-C', dir])
        assert.equal(await readFile(join(dir, 'usr/bin/hello'), 'utf8'), BASE.files['/usr/bin/hello'].content)
        assert.equal((await stat(join(dir, 'usr/bin/hello'))).mode & 0o777, 0o755)
        assert.equal((await stat(join(dir, 'data/base-0.bin'))).size, BASE.size)
      })
    })
  }

  test('of Docker has its media types', async () => {
    const image = await buildImage({ ...SPEC, flavour: 'docker', index: true })
    assert.deepEqual([image.manifest.mediaType, image.root.mediaType], [MEDIA_TYPES.dockerManifest, MEDIA_TYPES.dockerList])
    assert.equal(image.layers[0]?.mediaType, 'application/vnd.docker.image.rootfs.diff.tar.gzip')
  })

  test('with an attestation names it as BuildKit does', async () => {
    const image = await buildImage({ ...SPEC, attestation: true })
    const root = image.manifests.find(({ descriptor }) => descriptor.digest === image.root.digest)
    const [platform, attestation] = parseManifest(root?.bytes ?? new Uint8Array(), image.root.mediaType).manifests
    assert.equal(platform?.digest, image.manifest.digest)
    assert.deepEqual(attestation?.platform, { os: 'unknown', architecture: 'unknown' })
    assert.equal(attestation?.annotations?.['vnd.docker.reference.digest'], image.manifest.digest)
    assert.ok(image.manifests.some(({ descriptor }) => descriptor.digest === attestation?.digest))
  })
})

test('a layout of two images is one that other tools read', async () => {
  await inDirectory(async (dir) => {
    const images = [await buildImage(SPEC), await buildImage({ ...SPEC, layers: [BASE] })]
    for (const [at, image] of images.entries()) {
      await writeOciLayout(image, join(dir, 'layout'), `v${at}`)
      await run('umoci', ['unpack', '--rootless', '--image', `${join(dir, 'layout')}:v${at}`, join(dir, `unpacked-${at}`)])
      assert.equal((await stat(join(dir, `unpacked-${at}`, 'rootfs/data/base-0.bin'))).size, BASE.size)
      assert.ok(imageBytes(image) > BASE.size)
    }
  })
})
