import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { assertBytes, assertCode, Bench, bytesOf } from './support.ts'

const BYTES = new SeededRandom('faults').bytes(700_000)
const RANGE = { start: 100_000, end: 600_000 }

suite('ranges', () => {
  test('bounded, and checked', async () => {
    await using bench = await Bench.open(BYTES)
    const { size, range, body } = await bench.client.content(bench.blob, RANGE)
    assert.deepEqual({ size, range }, { size: BYTES.byteLength, range: RANGE })
    for await (const _ of body);
    assert.equal(bench.registry.log.requests()[0]?.headers.range, 'bytes=100000-599999')
  })

  test('an ignored range shows in the answer', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { noRange: true } })
    const content = await bench.client.content(bench.blob, RANGE)
    assert.deepEqual(content.range, { start: 0, end: BYTES.byteLength })
    assertBytes(await bytesOf(content), BYTES)
  })

  test('a blob that ends before the range does has another size', async () => {
    await using bench = await Bench.open(BYTES)
    for (const start of [0, BYTES.byteLength]) {
      await assertCode(bench.client.content(bench.blob, { start, end: BYTES.byteLength + 1 }), 'SIZE_MISMATCH')
    }
  })

  for (const range of ['bytes 0-499999/700000', 'bytes 100000-599999/*', 'bytes 100000-199999/700000', undefined]) {
    test(`an answer with Content-Range ${range} is refused`, async () => {
      await using bench = await Bench.open(BYTES)
      bench.registry.fault({ kind: 'blob', fault: { headers: { 'content-range': range } } })
      await assertCode(bench.client.content(bench.blob, RANGE), 'REGISTRY_FAILED')
      await bench.registry.log.idle()
    })
  }

  test('an empty range is not sent', async () => {
    await using bench = await Bench.open(BYTES)
    await assertCode(bench.client.content(bench.blob, { start: 5, end: 5 }), 'RANGE_UNSATISFIABLE')
    assert.equal(bench.registry.log.count(), 0)
  })
})

suite('odd bodies', () => {
  test('an encoding that nobody asked for is undone, and the size asked for apart', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', method: 'GET', fault: { gzip: true } })
    const content = await bench.client.content(bench.blob, RANGE)
    // A range of encoded bytes is of no use: the whole is taken.
    assert.deepEqual([content.size, content.range], [BYTES.byteLength, { start: 0, end: BYTES.byteLength }])
    assertBytes(await bytesOf(content), BYTES)
    assert.ok(bench.registry.log.requests().every(({ headers }) => headers['accept-encoding'] === 'identity'))
  })

  test('an unknown encoding, and one that is not what it says, are failures', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', method: 'GET', times: 1, fault: { headers: { 'content-encoding': 'rot13' } } })
    await assertCode(bytesOf(bench.client.content(bench.blob)), 'REGISTRY_FAILED')
    bench.registry.fault({ kind: 'blob', method: 'GET', fault: { headers: { 'content-encoding': 'gzip' } } })
    await assertCode(bytesOf(bench.client.content(bench.blob)), 'REGISTRY_FAILED')
  })

  test('a body without a length is read to the size that HEAD tells, and no further', async () => {
    await using bench = await Bench.open(BYTES)
    const unsized = { 'content-length': undefined }
    bench.registry.fault({ kind: 'blob', method: 'GET', times: 1, fault: { headers: unsized } })
    assertBytes(await bytesOf(bench.client.content(bench.blob)), BYTES)
    bench.registry.clearFaults()
    bench.registry.fault({ kind: 'blob', method: 'GET', fault: { headers: unsized, long: 1 } })
    await assertCode(bytesOf(bench.client.content(bench.blob)), 'SIZE_MISMATCH')
  })

  test('a body without a length that is short is a failure', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', method: 'GET', fault: { headers: { 'content-length': undefined }, short: 1, noRange: true } })
    await assertCode(bytesOf(bench.client.content(bench.blob)), 'REGISTRY_FAILED')
  })

  test('wrong bytes pass: whoever stores them checks them', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { corruptAt: 10 } })
    const got = await bytesOf(bench.client.content(bench.blob))
    assert.equal(got[10], (BYTES[10] ?? 0) ^ 0xff)
  })

  test('a slow registry is waited for', async () => {
    await using bench = await Bench.open(BYTES.subarray(0, 20_000), { client: { bodyTimeoutMs: 500 } })
    bench.registry.fault({ kind: 'blob', fault: { rate: 200_000 } })
    assertBytes(await bytesOf(bench.client.content(bench.blob)), BYTES.subarray(0, 20_000))
  })

  test('an answer that is not HTTP is a failure', async () => {
    await using bench = await Bench.open(BYTES)
    bench.registry.fault({ kind: 'blob', fault: { garbage: true } })
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_FAILED')
  })
})
