import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Digest, digestOf } from '@layerswarm/core/digest.ts'
import { type Descriptor, MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { Agents } from './agents.ts'

const MIB = 1024 * 1024
const MODEL = 'application/vnd.example.model.v1'
const SIGNATURE = 'application/vnd.example.signature'
const NAME = 'models/large'

/** Gives a blob to the first agent's mirror. */
async function pushBlob(agents: Agents, bytes: Uint8Array, mediaType: string): Promise<Descriptor> {
  const digest = digestOf(bytes)
  const { status, body } = await agents.ask(0, `${NAME}/blobs/uploads/?digest=${digest}`, 'POST', bytes)
  assert.equal(status, 201, String(body))
  return { mediaType, digest, size: bytes.byteLength }
}

async function pushManifest(agents: Agents, reference: string | undefined, document: object): Promise<Descriptor> {
  const mediaType = 'manifests' in document ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...document }))
  const digest = digestOf(bytes)
  const path = `${NAME}/manifests/${reference ?? digest}`
  const { status, body } = await agents.ask(0, path, 'PUT', bytes, { 'content-type': mediaType })
  assert.equal(status, 201, String(body))
  return { mediaType, digest, size: bytes.byteLength }
}

/** A model of one layer, by tag, and a signature of it. */
async function publish(agents: Agents) {
  const config = await pushBlob(agents, Buffer.from('{}'), 'application/vnd.oci.empty.v1+json')
  const weights = await pushBlob(agents, new SeededRandom('weights').bytes(24 * MIB + 5), `${MODEL}.weights`)
  const model = await pushManifest(agents, '1', { artifactType: MODEL, config, layers: [weights] })
  const signed = { artifactType: SIGNATURE, config, layers: [await pushBlob(agents, Buffer.from('signed'), SIGNATURE)], subject: model }
  return { config, weights, model, signature: await pushManifest(agents, undefined, signed) }
}

async function expect(agents: Agents, path: string, digest: Digest): Promise<void> {
  const { status, body } = await agents.ask(1, `${NAME}/${path}`)
  assert.deepEqual([status, digestOf(body)], [200, digest])
}

test('a model and its signature, pushed to one agent, are had by another without the registry', { timeout: 60_000 }, async () => {
  await using agents = await Agents.start(2, ['allowPush'])
  const { config, weights, model, signature } = await publish(agents)
  agents.registry.log.clear()
  await expect(agents, 'manifests/1', model.digest)
  await expect(agents, `manifests/${signature.digest}`, signature.digest)
  for (const { digest } of [config, weights]) await expect(agents, `blobs/${digest}`, digest)
  assert.equal(agents.registry.log.payloadBytes(), 0)
})

test("referrers are the registry's to list; where it cannot, the tag that clients turn to does", { timeout: 60_000 }, async () => {
  await using agents = await Agents.start(2, ['allowPush'])
  const { model, signature } = await publish(agents)
  const referrers = async (query = '') => await agents.ask(1, `${NAME}/referrers/${model.digest}${query}`)
  const { body } = await referrers(`?artifactType=${SIGNATURE}`)
  assert.deepEqual(
    (JSON.parse(String(body)).manifests as Descriptor[]).map(({ digest }) => digest),
    [signature.digest]
  )
  const [asked] = agents.registry.log.requests({ kind: 'referrers' })
  assert.equal(new URLSearchParams(asked?.query).get('artifactType'), SIGNATURE)
  agents.registry.fault({ kind: 'referrers', fault: { status: 404 } })
  assert.equal((await referrers()).status, 404)
  const tag = model.digest.replace(':', '-')
  assert.equal((await agents.ask(1, `${NAME}/manifests/${tag}`)).status, 404)
  const list = await pushManifest(agents, tag, { manifests: [{ ...signature, artifactType: SIGNATURE }] })
  await expect(agents, `manifests/${tag}`, list.digest)
})
