import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RegistryClient } from '@layerswarm/agent/ports.ts'
import { registrySource } from '@layerswarm/agent/registry/registry-source.ts'
import { layoutOf, pieceLength } from '@layerswarm/core/piece-layout.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { pieceSourceConformance } from '@layerswarm/testkit/conformance/piece-source.ts'
import type { Fault } from '@layerswarm/testkit/fake-registry/faults.ts'
import { assertBytes, assertCode, Bench } from './support.ts'

const SIZE = 9 * 256 * 1024 + 77

pieceSourceConformance('a registry', {
  kind: 'registry',
  lacks: ['NOT_FOUND'],
  breaks: ['REGISTRY_UNREACHABLE', 'REGISTRY_FAILED'],
  async open(blob, behaviour) {
    const bench = await Bench.open(blob.bytes)
    const onePiece = pieceLength(blob.layout, 0)
    if (behaviour === 'lacks') bench.registry.fault({ kind: 'blob', fault: { status: 404 } })
    if (behaviour === 'stalls') bench.registry.fault({ kind: 'blob', fault: { stallAfter: onePiece } })
    if (behaviour === 'breaks') {
      bench.registry.fault({ kind: 'blob', times: 1, fault: { cutAfter: onePiece + 100 } })
      bench.registry.fault({ kind: 'blob', skip: 1, fault: { reset: true } })
    }
    return { source: registrySource(bench.client, bench.blob, blob.layout), [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose]() }
  }
})

async function piecesOf(bench: Bench, size = bench.bytes.byteLength): Promise<{ numbers: number[]; bytes: Buffer }> {
  const source = registrySource(bench.client, bench.blob, layoutOf(size))
  const numbers: number[] = []
  const parts: Uint8Array[] = []
  for await (const { piece, bytes } of source.fetch({ first: 2, count: 3 })) {
    numbers.push(piece)
    parts.push(Uint8Array.from(bytes))
  }
  return { numbers, bytes: Buffer.concat(parts) }
}

test('a run is one ranged request, and its connection serves the next run', async () => {
  await using bench = await Bench.open(fixtureBlob(SIZE).bytes, { client: { connectionsPerOrigin: 1 } })
  const { numbers, bytes } = await piecesOf(bench)
  assert.deepEqual(numbers, [2, 3, 4])
  assertBytes(bytes, bench.bytes.subarray(2 * 262_144, 5 * 262_144))
  await piecesOf(bench)
  const requests = bench.registry.log.requests({ kind: 'blob' })
  assert.deepEqual(
    requests.map(({ headers }) => headers.range),
    ['bytes=524288-1310719', 'bytes=524288-1310719']
  )
  assert.equal(new Set(requests.map(({ connection }) => connection)).size, 1)
})

test('a registry that ignores the range yields all pieces from 0', async () => {
  await using bench = await Bench.open(fixtureBlob(SIZE).bytes)
  bench.registry.fault({ kind: 'blob', fault: { noRange: true } })
  const { numbers, bytes } = await piecesOf(bench)
  assert.deepEqual(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  assertBytes(bytes, bench.bytes)
})

for (const [what, fault] of [
  ['longer', { long: 1 }],
  ['shorter', { short: 1 }]
] as const) {
  test(`a blob ${what} than its descriptor says is refused before any piece, and the request ended`, async () => {
    await using bench = await Bench.open(fixtureBlob(SIZE).bytes, { client: { connectionsPerOrigin: 1 } })
    bench.registry.fault({ kind: 'blob', times: 1, fault: fault satisfies Fault })
    await assertCode(piecesOf(bench), 'SIZE_MISMATCH')
    // The one connection is free again.
    assert.deepEqual((await piecesOf(bench)).numbers, [2, 3, 4])
  })
}

test('a body that goes on after the last piece, or ends before it, is an error whoever the client is', async () => {
  const { layout, digest } = fixtureBlob(SIZE)
  const ref = { registry: 'r', repository: 'a', digest, kind: 'blob' } as const
  const clientOf = (length: number): Pick<RegistryClient, 'content'> => ({
    content: async (_ref, range = { start: 0, end: SIZE }) => ({
      size: SIZE,
      mediaType: '',
      range,
      body: (async function* () {
        yield new Uint8Array(length)
      })()
    })
  })
  const fetchAll = async (length: number) => {
    for await (const { piece } of registrySource(clientOf(length), ref, layout).fetch({ first: 0, count: 2 })) assert.ok(piece < 2)
  }
  await assertCode(fetchAll(2 * 262_144 + 1), 'SIZE_MISMATCH')
  await assertCode(fetchAll(2 * 262_144 - 1), 'REGISTRY_FAILED')
  await assertCode(fetchAll(262_144), 'REGISTRY_FAILED')
})
