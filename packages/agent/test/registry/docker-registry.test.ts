// needs: docker-registry
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { registrySource } from '@layerswarm/agent/registry/registry-source.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { layoutOf } from '@layerswarm/core/piece-layout.ts'
import { DockerRegistry } from '@layerswarm/testkit/docker-registry.ts'
import { buildImage, type TestImage } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { assertBytes, assertCode, bytesOf, ClientUnderTest, REPOSITORY } from './support.ts'

suite('with the real registry', () => {
  let registry: DockerRegistry
  let under: ClientUnderTest
  let image: TestImage

  before(async () => {
    registry = await DockerRegistry.start()
    under = new ClientUnderTest(registry.host)
    image = await buildImage({ layers: [{ seed: 'docker-registry', size: 3_000_000 }], attestation: true })
    await pushImage(image, registry.url, REPOSITORY, 'v1')
  })

  after(async () => {
    await under?.[Symbol.asyncDispose]()
    await registry?.[Symbol.asyncDispose]()
  })

  test('a tag resolves, and every manifest is fetched', async () => {
    const { digest, mediaType, size } = await under.client.resolve({ registry: registry.host, repository: REPOSITORY, tag: 'v1' })
    assert.deepEqual({ digest, mediaType, size }, image.root)
    for (const { descriptor, bytes } of image.manifests) {
      const ref = { registry: registry.host, repository: REPOSITORY, digest: descriptor.digest, kind: 'manifest' } as const
      const content = await under.client.content(ref)
      assert.equal(content.mediaType, descriptor.mediaType)
      assertBytes(await bytesOf(content), bytes)
    }
  })

  test('blobs come whole, in ranges, and in pieces', async () => {
    for (const { digest, size } of [...image.layers, image.config]) {
      const ref = { registry: registry.host, repository: REPOSITORY, digest, kind: 'blob' } as const
      const whole = await bytesOf(under.client.content(ref))
      assert.equal(digestOf(whole), digest)
      assert.equal((await under.client.resolve(ref)).size, size)
      const range = { start: 3, end: size - 2 }
      assertBytes(await bytesOf(under.client.content(ref, range)), whole.subarray(range.start, range.end))
      const layout = layoutOf(size)
      const pieces: Uint8Array[] = []
      for await (const { bytes } of registrySource(under.client, ref, layout).fetch({ first: 0, count: layout.pieces })) {
        pieces.push(Uint8Array.from(bytes))
      }
      assertBytes(Buffer.concat(pieces), whole)
      await assertCode(under.client.content(ref, { start: 0, end: size + 1 }), 'SIZE_MISMATCH')
    }
  })

  test('an upload that is given up between its parts is not left there', async () => {
    const upload = await under.client.uploads.open({ registry: registry.host, repository: REPOSITORY })
    assert.ok(upload)
    await upload.append(async function* () {
      yield Buffer.alloc(100_000)
    })
    assert.equal((await registry.openUploads(REPOSITORY)).length, 1)
    await upload.cancel()
    assert.deepEqual(await registry.openUploads(REPOSITORY), [])
  })

  test('what is missing is not found, documents are passed on', async () => {
    const ref = { registry: registry.host, repository: REPOSITORY, digest: digestOf(Buffer.from('none')), kind: 'blob' } as const
    await assertCode(under.client.content(ref), 'NOT_FOUND')
    await assertCode(under.client.resolve({ registry: registry.host, repository: REPOSITORY, tag: 'none' }), 'NOT_FOUND')
    const { body } = await under.client.document(registry.host, REPOSITORY, 'tags/list')
    assert.deepEqual(JSON.parse(Buffer.from(body).toString()), { name: REPOSITORY, tags: ['v1'] })
    await assertCode(under.client.document(registry.host, REPOSITORY, `referrers/${ref.digest}`), 'NOT_FOUND')
  })
})
