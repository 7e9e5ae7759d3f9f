import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { redirectTarget } from '@layerswarm/agent/registry/redirect.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { assertBytes, assertCode, Bench, bytesOf, REPOSITORY } from './support.ts'

const BYTES = new SeededRandom('redirect').bytes(300_000)
const RANGE = { start: 100_000, end: 250_000 }
const PART = BYTES.subarray(RANGE.start, RANGE.end)

suite('a redirect to another origin', () => {
  for (const status of [301, 302, 303, 307, 308] as const) {
    test(`by ${status} keeps the range and drops the token`, async () => {
      await using bench = await Bench.open(BYTES, { registry: { access: { type: 'bearer' } } })
      bench.registry.fault({ kind: 'blob', fault: { redirect: { status } } })
      assertBytes(await bytesOf(bench.client.content(bench.blob, RANGE)), PART)
      const [stored] = bench.registry.log.requests({ kind: 'stored' })
      assert.equal(stored?.headers.range, 'bytes=100000-249999')
      assert.equal(stored?.headers.authorization, undefined)
      assert.ok(bench.registry.log.requests({ kind: 'blob' }).some(({ headers }) => headers.authorization !== undefined))
    })
  }

  for (const status of [400, 401, 403]) {
    test(`whose target says ${status} is asked for once more at the registry`, async () => {
      await using bench = await Bench.open(BYTES)
      bench.registry.fault({ kind: 'blob', fault: { redirect: {} } })
      bench.registry.fault({ kind: 'stored', times: 1, fault: { status } })
      assertBytes(await bytesOf(bench.client.content(bench.blob, RANGE)), PART)
      assert.equal(bench.registry.log.count({ kind: 'blob' }), 2)
    })
  }

  test('that has always expired is access refused', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { redirect: { uses: 0 } } })
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_DENIED')
    assert.equal(bench.registry.log.count({ kind: 'blob' }), 2)
  })

  test('is asked for again to mend a body, since the old one may have expired', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { redirect: { uses: 1 } } })
    bench.registry.fault({ kind: 'stored', times: 1, fault: { cutAfter: 60_000 } })
    assertBytes(await bytesOf(bench.client.content(bench.blob, RANGE)), PART)
    assert.deepEqual(
      bench.registry.log.requests({ kind: 'stored' }).map(({ headers }) => headers.range),
      ['bytes=100000-249999', 'bytes=160000-249999']
    )
  })

  test('and back does not get the token again', async () => {
    await using bench = await Bench.open(BYTES, { registry: { access: { type: 'bearer' } } })
    await using other = await FakeRegistry.start()
    await bench.client.resolve(bench.blob)
    bench.registry.fault({
      kind: 'blob',
      times: 1,
      fault: { status: 307, headers: { location: `${other.url}/v2/${REPOSITORY}/blobs/${bench.blob.digest}` } }
    })
    other.fault({ fault: { status: 307, headers: { location: `${bench.registry.url}/v2/${REPOSITORY}/blobs/${bench.blob.digest}` } } })
    await bench.client.resolve(bench.blob)
    assert.equal(other.log.requests()[0]?.headers.authorization, undefined)
    const requests = bench.registry.log.requests({ kind: 'blob' })
    // Challenge, answer; redirect, back without the token, which is refused; from the start again.
    assert.deepEqual(
      requests.map(({ headers }) => headers.authorization !== undefined),
      [false, true, true, false, true]
    )
  })
})

test('a redirect within the registry keeps the token', async () => {
  await using bench = await Bench.open(BYTES, { registry: { access: { type: 'bearer' } } })
  await bench.client.resolve(bench.blob)
  const location = `/v2/${REPOSITORY}/blobs/${bench.blob.digest}?again`
  bench.registry.fault({ kind: 'blob', times: 1, fault: { status: 308, headers: { location } } })
  assertBytes(await bytesOf(bench.client.content(bench.blob)), BYTES)
})

test('redirects without end, and without an address, are failures', async () => {
  await using bench = await Bench.open(BYTES)
  const location = `/v2/${REPOSITORY}/blobs/${bench.blob.digest}`
  using _ = bench.registry.fault({ kind: 'blob', fault: { status: 307, headers: { location } } })
  await assertCode(bench.client.content(bench.blob), 'REGISTRY_FAILED')
  assert.equal(bench.registry.log.count(), 6)
  bench.registry.fault({ kind: 'blob', fault: { headers: { location: undefined } } })
  await assertCode(bench.client.content(bench.blob), 'REGISTRY_FAILED')
})

test('from https to http, or to another scheme, is refused unless the registry is insecure', async () => {
  const from = new URL('https://registry.example.com/v2/a/blobs/x')
  const follow = (location: string, insecure: boolean) => async () => redirectTarget('registry.example.com', from, location, insecure)
  assert.equal((await follow('https://cdn.example.com/x?s=1', false)()).href, 'https://cdn.example.com/x?s=1')
  assert.equal((await follow('http://cdn.example.com/x', true)()).href, 'http://cdn.example.com/x')
  for (const location of ['http://cdn.example.com/x?signature=1', 'http://registry.example.com/x', 'file:///etc/passwd', 'http://']) {
    await assertCode(follow(location, false)(), 'REGISTRY_FAILED')
    await assert.rejects(follow(location, false), (error: Error) => !error.message.includes('signature'))
  }
  await assertCode(follow('file:///etc/passwd', true)(), 'REGISTRY_FAILED')
})
