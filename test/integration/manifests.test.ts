import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { buildImage } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { Agents } from './agents.ts'

async function publish(agents: Agents, tag = '1') {
  const image = await buildImage({ layers: [{ seed: tag, size: 300_000 }], attestation: true })
  await pushImage(image, agents.registry.url, 'team/app', tag)
  agents.registry.log.clear()
  return image
}

const gets = (agents: Agents) => agents.registry.log.requests({ kind: 'manifest', method: 'GET' }).map(({ reference }) => reference)

test('agents that pull the same tag at the same time have the registry send each manifest once', { timeout: 60_000 }, async () => {
  await using agents = await Agents.start(6)
  // On a slow machine the first connections take longer than a manifest is waited for.
  await publish(agents, 'first')
  await agents.askAll('team/app/manifests/first')
  const image = await publish(agents)
  for (const { status, body } of await agents.askAll('team/app/manifests/1'))
    assert.deepEqual([status, digestOf(body)], [200, image.root.digest])
  for (const { descriptor } of image.manifests) {
    for (const { status, body } of await agents.askAll(`team/app/manifests/${descriptor.digest}`)) {
      assert.deepEqual([status, digestOf(body)], [200, descriptor.digest])
    }
  }
  assert.deepEqual(gets(agents).sort(), image.manifests.map(({ descriptor }) => descriptor.digest).sort())
})

test('an agent that comes later has the manifests from the others, by tag and by digest', { timeout: 60_000 }, async () => {
  await using agents = await Agents.start(2)
  const image = await publish(agents)
  const paths = ['1', ...image.manifests.map(({ descriptor }) => descriptor.digest)].map((reference) => `team/app/manifests/${reference}`)
  for (const path of paths) assert.equal((await agents.ask(0, path)).status, 200)
  assert.equal(gets(agents).length, image.manifests.length)
  for (const path of paths) {
    const { status, headers } = await agents.ask(1, path)
    assert.deepEqual([status, headers['x-layerswarm-source'] === 'registry'], [200, false])
  }
  assert.equal(gets(agents).length, image.manifests.length)
})
