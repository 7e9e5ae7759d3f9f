import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryRegistryClient } from '@layerswarm/testkit/memory-registry-client.ts'
import { OriginAccess } from '../../src/swarm/origin-access.ts'
import { BLOB, digestNamed } from './test-host.ts'

const ref = { registry: 'r', repository: 'app', digest: BLOB, kind: 'blob' } as const

function bench() {
  const clock = new ManualClock()
  const registry = new MemoryRegistryClient(['r'])
  registry.put('r/app', 'blob', Buffer.from('layer'))
  return { clock, registry, access: new OriginAccess({ registry, clock }) }
}

test('a yes counts five minutes for the whole repository, and content that is not there is a yes', async () => {
  const { clock, registry, access } = bench()
  assert.equal(await access.granted(ref), true)
  assert.equal(await access.granted({ ...ref, digest: digestNamed('another') }), true)
  assert.equal(registry.calls.length, 1)
  assert.equal(await access.granted({ ...ref, repository: 'other' }), true)
  assert.equal(registry.calls.length, 2)
  await clock.advance(299_000)
  await access.granted(ref)
  assert.equal(registry.calls.length, 2)
  await clock.advance(1001)
  await access.granted(ref)
  assert.equal(registry.calls.length, 3)
})

test('a no, and a registry out of reach, count ten seconds', async () => {
  for (const code of ['REGISTRY_DENIED', 'REGISTRY_UNREACHABLE', 'REGISTRY_FAILED'] as const) {
    const { clock, registry, access } = bench()
    registry.error = new LayerswarmError(code)
    assert.equal(await access.granted(ref), false)
    registry.error = undefined
    await clock.advance(9900)
    assert.equal(await access.granted(ref), false)
    await clock.advance(101)
    assert.equal(await access.granted(ref), true)
  }
})

test('many that ask at once are answered by one request', async () => {
  const { registry, access } = bench()
  assert.deepEqual(await Promise.all([access.granted(ref), access.granted(ref), access.granted(ref)]), [true, true, true])
  assert.equal(registry.calls.length, 1)
})

test('a registry that does not answer is a no after two and a half seconds', async () => {
  const { clock, registry, access } = bench()
  registry.hangs = true
  const asked = access.granted(ref)
  await clock.advance(2499)
  assert.equal(clock.sleeping, 1)
  await clock.advance(1)
  assert.equal(await asked, false)
})
