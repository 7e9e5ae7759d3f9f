import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Claim, claimedHash, verifyClaim } from '@layerswarm/core/claims.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { type Identity, newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { describeBlob, fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryRegistryClient } from '@layerswarm/testkit/memory-registry-client.ts'
import { bytesOf, SwarmBench } from './swarm-bench.ts'

const MIB = 1024 ** 2
const blob = fixtureBlob(2 * MIB)
const PIECES = [...Array(blob.layout.pieces).keys()]
/** What a liar makes of it: its first pieces are false. */
const lies = describeBlob(
  Buffer.from(blob.bytes)
    .fill(7, 0, 100)
    .fill(7, MIB, MIB + 100)
)
const mismatch = (error: unknown) => isLayerswarmError(error, 'DIGEST_MISMATCH')

type Bench = SwarmBench & { readonly clock: ManualClock; readonly liar: Identity }

/** A host whose neighbour vouches falsely, under a lease, for some pieces and sends what fits. */
async function misled(options: { readonly overTls?: boolean; readonly pieces?: readonly number[] } = {}): Promise<Bench> {
  const clock = new ManualClock()
  const bench = await SwarmBench.open({ clock, connected: true, client: new MemoryRegistryClient([]), ...options })
  await bench.put(blob)
  const liar = await newIdentity()
  bench.peers.add(liar.id).give(
    { ...lies, digest: blob.digest },
    {
      claims: await claims(bench, liar, lies),
      pieces: options.pieces ?? PIECES
    }
  )
  bench.peers.up(liar.id)
  return Object.assign(bench, { clock, liar })
}

async function claims(bench: SwarmBench, author: Identity, what = blob): Promise<Claim[]> {
  return await Promise.all(PIECES.map((piece) => bench.claim(author, blob, piece, what.hash(piece))))
}

/** Fetches the blob, which turns out false. */
async function disputed(options: { readonly overTls?: boolean } = {}): Promise<Bench> {
  const bench = await misled(options)
  await using content = await bench.open(blob)
  await assert.rejects(bench.clock.runUntil(bytesOf(content)), mismatch)
  return bench
}

describe('a blob that turns out false', () => {
  test('is told to the tracker; with the blob proven, so is what the liar signed', async () => {
    await using bench = await disputed()
    assert.deepEqual(
      bench.directory.notes.filter(({ t }) => t === 'dispute' || t === 'cancel').map(({ t }) => t),
      ['dispute', 'cancel']
    )
    assert.deepEqual(bench.directory.told('evidence'), [])
    await using again = await bench.open(blob)
    await bench.clock.runUntil(bytesOf(again))
    await bench.clock.runUntil(bench.swarm.finished(blob.digest))
    const [evidence, ...more] = bench.directory.told('evidence')
    const [claim, ...others] = evidence?.claims ?? []
    assert.ok(claim)
    assert.deepEqual([more, others, claim.author], [[], [], bench.liar.id])
    assert.ok(await verifyClaim(claim))
    assert.ok(!Buffer.from(claimedHash(claim, claim.first) ?? []).equals(blob.hash(claim.first)))
  })

  test('convicts nobody when it came over plain HTTP: anybody may have changed it on its way', async () => {
    await using bench = await disputed({ overTls: false })
    await using again = await bench.open(blob)
    await bench.clock.runUntil(bytesOf(again))
    await bench.clock.runUntil(bench.swarm.finished(blob.digest))
    assert.equal(bench.directory.told('done').length, 1)
    assert.deepEqual(bench.directory.told('evidence'), [])
  })

  test('is the registry’s fault when nobody vouched for it', async () => {
    await using bench = await SwarmBench.open()
    await bench.put(blob)
    using _ = bench.registry.fault({ kind: 'blob', method: 'GET', fault: { corruptAt: 1000 } })
    await using content = await bench.open(blob)
    await assert.rejects(bytesOf(content), mismatch)
    assert.deepEqual(bench.directory.told('dispute'), [])
  })

  test('comes from peers again as far as two hosts vouch for the same, and who was deceived is not dropped', async () => {
    await using bench = await disputed()
    const [first, second, deceived] = [await newIdentity(), await newIdentity(), await newIdentity()]
    bench.peers.add(deceived.id).give({ ...lies, digest: blob.digest })
    bench.peers.up(deceived.id)
    const both = (await Promise.all([first, second].map((author) => claims(bench, author)))).flat()
    bench.peers.add(first.id).give(blob, { claims: both })
    bench.peers.up(first.id)
    await using again = await bench.open(blob)
    assert.ok((await bench.clock.runUntil(bytesOf(again))).equals(blob.bytes))
    assert.deepEqual(again.counts(), { local: 0, peer: 2 * MIB, registry: 0 })
    assert.deepEqual(bench.peers.banned, [])
  })

  test('does not come from peers on the word of one more host', async () => {
    await using bench = await disputed()
    const honest = await newIdentity()
    bench.peers.add(honest.id).give(blob, { claims: await claims(bench, honest) })
    bench.peers.up(honest.id)
    await using again = await bench.open(blob)
    await bench.clock.advance(1000)
    const agreed = PIECES.filter((piece) => Buffer.compare(lies.hash(piece), blob.hash(piece)) === 0).length
    assert.equal(bench.swarm.running(blob.digest)?.partial.have().count, agreed, 'only what the liar told truly')
    await bench.clock.runUntil(bytesOf(again))
  })
})

test('false pieces that a proven map shows are dropped at once, with the clients that may have seen them', async () => {
  await using bench = await misled({ pieces: [0, 1] })
  const content = await bench.open(blob)
  const reading = assert.rejects(bytesOf(content), mismatch)
  const transfer = bench.swarm.running(blob.digest)
  assert.ok(transfer)
  while (!transfer.has(0) || !transfer.has(1)) await bench.clock.advance(1)
  transfer.setMap(blob.map, true)
  await bench.clock.runUntil(reading)
  await content[Symbol.asyncDispose]()
  assert.equal((await bench.store.stat(blob.digest))?.present, blob.layout.pieceSize, 'what is true is kept')
  await using again = await bench.open(blob)
  bench.swarm.running(blob.digest)?.setMap(blob.map, true)
  assert.ok((await bench.clock.runUntil(bytesOf(again))).equals(blob.bytes))
  assert.deepEqual(
    bench.directory.told('evidence').flatMap(({ claims }) => claims.map(({ author }) => author)),
    [bench.liar.id]
  )
})
