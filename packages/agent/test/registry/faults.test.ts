import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { MAX_ATTEMPTS } from '@layerswarm/agent/registry/limits.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { assertBytes, assertCode, Bench, bytesOf, ClientUnderTest, REPOSITORY } from './support.ts'

const BYTES = new SeededRandom('faults').bytes(700_000)
const RANGE = { start: 100_000, end: 600_000 }
const PART = BYTES.subarray(RANGE.start, RANGE.end)

suite('before the first byte', () => {
  for (const status of [408, 500, 502, 503, 504]) {
    test(`a ${status} is tried again, later each time`, async () => {
      await using bench = await Bench.open(BYTES)
      bench.registry.fault({ kind: 'blob', times: 2, fault: { status } })
      assertBytes(await bytesOf(bench.client.content(bench.blob, RANGE)), PART)
      const [first = 0, second = 0] = bench.under.clock.slept
      assert.ok(first > 0 && second > first)
      assert.deepEqual(bench.under.statuses, [status, status, 206])
    })
  }

  test('a registry that goes on failing is given up', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { status: 500 } })
    await assertCode(bench.client.content(bench.blob, RANGE), 'REGISTRY_FAILED')
    assert.equal(bench.registry.log.count({ kind: 'blob' }), MAX_ATTEMPTS)
  })

  test('a status that says the request is wrong is not tried again', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { status: 405 } })
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_FAILED')
    assert.equal(bench.registry.log.count(), 1)
  })

  test('404 is the content not being there, 403 access refused', async () => {
    await using bench = await Bench.open(BYTES)
    await assertCode(bench.client.content({ ...bench.blob, repository: 'other' }), 'NOT_FOUND')
    bench.registry.fault({ kind: 'blob', fault: { status: 403 } })
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_DENIED')
    assert.equal(bench.registry.log.count(), 2)
  })

  test('a reset connection is tried again', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', times: 1, fault: { reset: true } })
    assertBytes(await bytesOf(bench.client.content(bench.blob, RANGE)), PART)
    assert.deepEqual(bench.under.statuses, ['error', 206])
  })

  test('connections that are always reset mean that the registry is out of reach', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ fault: { reset: true } })
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_UNREACHABLE')
    assert.equal(bench.registry.log.count(), MAX_ATTEMPTS)
  })

  test('headers that never come time out, and are asked for again', async () => {
    await using bench = await Bench.open(BYTES, { client: { headersTimeoutMs: 50 } })
    const { promise, resolve } = Promise.withResolvers<void>()
    bench.registry.fault({ kind: 'blob', times: 1, fault: { hold: promise } })
    assertBytes(await bytesOf(bench.client.content(bench.blob, RANGE)), PART)
    resolve()
    assert.equal(bench.registry.log.count(), 2)
  })

  test('a refused connection is told at once', async () => {
    await using bench = await Bench.open(BYTES)
    await bench.registry.stop()
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_UNREACHABLE')
    assert.deepEqual(bench.under.clock.slept, [])
    await bench.registry.start()
    assertBytes(await bytesOf(bench.client.content(bench.blob)), BYTES)
  })

  test('a refused name is told with its reason, however many addresses it has', async () => {
    await using bench = await Bench.open(BYTES)
    const name = bench.registry.host.replace('127.0.0.1', 'localhost')
    await bench.registry.stop()
    await using under = new ClientUnderTest(name)
    await assert.rejects(under.client.content({ ...bench.blob, registry: name }), /localhost:\d+: .*ECONNREFUSED/)
  })

  test('a name that does not resolve, and a server that speaks no TLS, are out of reach', async () => {
    await using registry = await FakeRegistry.start()
    const [host, nowhere] = [registry.host, 'registry.invalid']
    await using under = new ClientUnderTest(host, {
      registries: new Map([
        [host, { insecure: false }],
        [nowhere, { insecure: false }]
      ])
    })
    for (const name of [host, nowhere]) {
      await assertCode(under.client.resolve({ registry: name, repository: REPOSITORY, tag: 'v1' }), 'REGISTRY_UNREACHABLE')
    }
    assert.deepEqual(registry.log.requests(), [])
  })

  test('an abort ends the wait with its reason, and the connection', async () => {
    await using bench = await Bench.open(BYTES)
    const { promise, resolve } = Promise.withResolvers<void>()
    using held = bench.registry.fault({ kind: 'blob', fault: { hold: promise } })
    const stop = new AbortController()
    const opening = bench.client.content(bench.blob, RANGE, { signal: stop.signal })
    await bench.registry.log.seen({ kind: 'blob' })
    const reason = new Error('enough')
    stop.abort(reason)
    await assert.rejects(opening, (error) => error === reason)
    await bench.registry.log.idle()
    assert.equal(held.hits, 1)
    assert.deepEqual(bench.under.statuses, [], 'the registry did not fail')
    resolve()
  })

  test('an abort ends the wait for a free connection', async () => {
    await using bench = await Bench.open(BYTES, { client: { connectionsPerOrigin: 1 } })
    const { promise, resolve } = Promise.withResolvers<void>()
    bench.registry.fault({ kind: 'blob', times: 1, fault: { hold: promise } })
    const first = bytesOf(bench.client.content(bench.blob, RANGE))
    await bench.registry.log.seen({ kind: 'blob' })
    const stop = new AbortController()
    const second = bench.client.content(bench.blob, RANGE, { signal: stop.signal })
    const reason = new Error('enough')
    stop.abort(reason)
    await assert.rejects(second, (error) => error === reason)
    resolve()
    assertBytes(await first, PART)
    assert.equal(bench.registry.log.count(), 1)
  })
})

suite('in the middle of a body', () => {
  test('a cut is mended with a request for the rest', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', times: 2, fault: { cutAfter: 200_000 } })
    assertBytes(await bytesOf(bench.client.content(bench.blob, RANGE)), PART)
    assert.deepEqual(
      bench.registry.log.requests().map(({ headers }) => headers.range),
      ['bytes=100000-599999', 'bytes=300000-599999', 'bytes=500000-599999']
    )
    assert.equal(bench.under.received, PART.byteLength)
  })

  test('a cut of the whole blob is mended too', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', times: 1, fault: { cutAfter: 200_000 } })
    assertBytes(await bytesOf(bench.client.content(bench.blob)), BYTES)
    assert.deepEqual(
      bench.registry.log.requests().map(({ headers }) => headers.range),
      [undefined, 'bytes=200000-699999']
    )
  })

  test('no second resume without progress', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', times: 1, fault: { cutAfter: 1_000 } })
    bench.registry.fault({ kind: 'blob', skip: 1, fault: { cutAfter: 0 } })
    await assertCode(bytesOf(bench.client.content(bench.blob, RANGE)), 'REGISTRY_FAILED')
    assert.equal(bench.registry.log.count(), 2)
  })

  test('a connection that keeps breaking is given up in the end', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { cutAfter: 10 } })
    await assertCode(bytesOf(bench.client.content(bench.blob, RANGE)), 'REGISTRY_FAILED')
    assert.equal(bench.registry.log.count(), 6)
  })

  test('a cut is not mended where ranges are ignored', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { noRange: true, cutAfter: 200_000 } })
    await assertCode(bytesOf(bench.client.content(bench.blob)), 'REGISTRY_FAILED')
    await assertCode(bytesOf(bench.client.content(bench.blob, RANGE)), 'REGISTRY_FAILED')
  })

  test('a registry that comes back with another size is not gone on with', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', times: 1, fault: { cutAfter: 200_000 } })
    bench.registry.fault({ kind: 'blob', skip: 1, fault: { long: 7, stallAfter: 1000 } })
    await assertCode(bytesOf(bench.client.content(bench.blob, RANGE)), 'SIZE_MISMATCH')
    // Its connection is let go.
    await bench.registry.log.idle()
  })

  test('a stall times out and is mended', async () => {
    await using bench = await Bench.open(BYTES, { client: { bodyTimeoutMs: 50 } })
    bench.registry.fault({ kind: 'blob', times: 1, fault: { stallAfter: 200_000 } })
    assertBytes(await bytesOf(bench.client.content(bench.blob, RANGE)), PART)
    assert.equal(bench.registry.log.count(), 2)
  })

  test('a registry that only stalls is out of reach', async () => {
    await using bench = await Bench.open(BYTES, { client: { bodyTimeoutMs: 50 } })
    bench.registry.fault({ kind: 'blob', times: 1, fault: { stallAfter: 200_000 } })
    bench.registry.fault({ kind: 'blob', skip: 1, fault: { stallAfter: 0 } })
    await assertCode(bytesOf(bench.client.content(bench.blob, RANGE)), 'REGISTRY_UNREACHABLE')
  })

  test('an abort throws its reason and ends the connection', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { stallAfter: 200_000 } })
    const stop = new AbortController()
    const { body } = await bench.client.content(bench.blob, RANGE, { signal: stop.signal })
    const reason = new Error('enough')
    const reading = (async () => {
      let got = 0
      for await (const chunk of body) {
        got += chunk.byteLength
        if (got === 200_000) setImmediate(() => stop.abort(reason))
      }
    })()
    await assert.rejects(reading, (error) => error === reason)
    await bench.registry.log.idle()
  })

  test('whoever leaves a body ends its connection', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { stallAfter: 200_000 } })
    for await (const _ of (await bench.client.content(bench.blob, RANGE)).body) break
    await bench.registry.log.idle()
  })

  test('a reader that does not read holds the registry back', async () => {
    const large = new SeededRandom('large').bytes(64 * 1024 * 1024)
    await using bench = await Bench.open(large, { client: { bodyTimeoutMs: 50 } })
    const chunks = (await bench.client.content(bench.blob)).body[Symbol.asyncIterator]()
    await chunks.next()
    // Each round trip lets the registry write a chunk, if it may.
    for (let turns = 0; turns < 300; turns++) await bench.client.resolve(bench.blob)
    assert.ok(bench.registry.log.payloadBytes() < 32 * 1024 * 1024)
    // Silence that the reader itself wants is no stall.
    let got = 0
    while (got < large.byteLength / 2) got += (await chunks.next()).value?.byteLength ?? large.byteLength
    await chunks.return?.()
  })
})

suite('a registry that asks for peace', () => {
  test('429 with Retry-After: told at once, and not asked again until then', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', times: 1, fault: { status: 429, headers: { 'retry-after': '30' } } })
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_BUSY')
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_BUSY')
    bench.under.clock.advance(29_999)
    await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_BUSY')
    assert.equal(bench.registry.log.count(), 1)
    bench.under.clock.advance(3_002)
    assertBytes(await bytesOf(bench.client.content(bench.blob)), BYTES)
  })

  test('503 with a date, by the clock of the registry', async () => {
    await using bench = await Bench.open(BYTES)
    const headers = { date: 'Mon, 05 Jan 2026 10:00:00 GMT', 'retry-after': 'Mon, 05 Jan 2026 10:00:20 GMT' }
    bench.registry.fault({ kind: 'blob', times: 1, fault: { status: 503, headers } })
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_BUSY')
    bench.under.clock.advance(19_999)
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_BUSY')
    bench.under.clock.advance(2_002)
    assertBytes(await bytesOf(bench.client.content(bench.blob)), BYTES)
  })

  test('other registries are not concerned', async () => {
    await using bench = await Bench.open(BYTES)
    await using other = await FakeRegistry.start()
    const registries = new Map([bench.registry.host, other.host].map((host) => [host, { insecure: true }]))
    await using under = new ClientUnderTest('', { registries })
    other.fault({ fault: { status: 429, headers: { 'retry-after': '30' } } })
    await assertCode(under.client.content({ ...bench.blob, registry: other.host }), 'REGISTRY_BUSY')
    assertBytes(await bytesOf(under.client.content(bench.blob)), BYTES)
  })
})
