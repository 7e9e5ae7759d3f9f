import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { type Descriptor, MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { LocalHost } from './local-host.ts'

const MIB = 1024 * 1024

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

async function keep(host: LocalHost, bytes: Uint8Array, mediaType: string): Promise<Descriptor> {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength }
  await host.local.put(descriptor, once(bytes))
  return descriptor
}

/** A manifest of one blob and no image's configuration, in the store. */
async function artifact(host: LocalHost, type: string, content: Uint8Array, more: object = {}): Promise<Descriptor> {
  const config = await keep(host, Buffer.from('{}'), 'application/vnd.oci.empty.v1+json')
  const layers = [await keep(host, content, `${type}.content`)]
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, artifactType: type, config, layers, ...more }
  return await keep(host, Buffer.from(JSON.stringify(document)), MEDIA_TYPES.ociManifest)
}

for (const [name, type, size] of [
  ['a Helm chart', 'application/vnd.cncf.helm.config.v1+json', 4000],
  ['a model of one large layer', 'application/vnd.example.model.v1', 24 * MIB]
] as const) {
  test(`${name} is pushed, pulled, listed and checked like an image`, async () => {
    await using source = await LocalHost.open()
    const content = new SeededRandom(name).bytes(size)
    const root = await artifact(source, type, content)
    const image = `${source.registry.host}/artifacts/a:1`
    const pushed = await source.local.push({ image, from: { root } })
    assert.deepEqual([pushed.digest, pushed.blobs, pushed.sent], [root.digest, 2, size + 2])

    await using other = await LocalHost.open({ insecureRegistry: [source.registry.host] })
    const { digest, blobs, bytes } = await other.images.pull(image)
    assert.deepEqual([digest, blobs, bytes], [root.digest, 2, size + 2 + root.size])
    const { images } = await other.list()
    assert.deepEqual(
      images.map(({ image: known, state, present, required }) => [known, state, present, required]),
      [[image, 'complete', 2, 2]]
    )
    await other.rot(digestOf(content))
    const { summary } = await other.check({ image, verify: true, repair: true })
    assert.deepEqual([summary.corrupt.length, summary.mended], [1, 1])
    const again = await other.local.push({ image: `${source.registry.host}/artifacts/a:2`, from: { image } })
    assert.deepEqual([again.sent, again.held], [0, size + 2])
  })
}

test('a signature is listed under the tag of what it signs, beside others, once, unless the registry lists it', async () => {
  await using host = await LocalHost.open()
  const { registry } = host
  const push = async (root: Descriptor) => await host.local.push({ image: `${registry.host}/team/app@${root.digest}`, from: { root } })
  const signed = await artifact(host, 'application/vnd.example.app', Buffer.from('app'))
  await push(signed)
  const subject = { mediaType: signed.mediaType, digest: signed.digest, size: signed.size }
  const tag = signed.digest.replace(':', '-')
  const sign = async (text: string) => {
    const annotations = { signer: text }
    const signature = await artifact(host, 'application/vnd.example.signature', Buffer.from(text), { subject, annotations })
    await push(signature)
    return {
      mediaType: MEDIA_TYPES.ociManifest,
      digest: signature.digest,
      size: signature.size,
      artifactType: 'application/vnd.example.signature',
      annotations
    }
  }
  const listed = async () => (await (await fetch(`${registry.url}/v2/team/app/manifests/${tag}`)).json()) as { manifests: unknown }
  const first = await sign('first')
  assert.deepEqual((await listed()).manifests, [first])
  const second = await sign('second')
  await sign('first')
  assert.deepEqual((await listed()).manifests, [first, second])
  registry.fault({ kind: 'manifest', method: 'PUT', fault: { headers: { 'oci-subject': signed.digest } } })
  await sign('third')
  assert.deepEqual((await listed()).manifests, [first, second])
  registry.clearFaults()
  registry.putManifest(
    'team/app',
    tag,
    Buffer.from(JSON.stringify({ ...(await listed()), manifests: undefined, config: subject, layers: [] })),
    MEDIA_TYPES.ociManifest
  )
  await assert.rejects(sign('fourth'), { code: 'MANIFEST_INVALID' })
})

test('a tag that this host has pushed means the new image at once', async () => {
  await using host = await LocalHost.open()
  const ref = { registry: host.registry.host, repository: 'team/app', tag: '1' }
  for (const text of ['one', 'two']) {
    const root = await artifact(host, 'application/vnd.example.app', Buffer.from(text))
    await host.local.push({ image: `${host.registry.host}/team/app:1`, from: { root } })
    assert.equal((await host.images.resolve(ref)).descriptor.digest, root.digest)
  }
})
