import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, open, readFile, rm, stat, truncate, watch, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import type { Claim } from '@layerswarm/core/claims.ts'
import { type FixtureBlob, fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { readAll, writeAll } from '@layerswarm/testkit/blob-steps.ts'
import { parseSideFile } from '../../src/store/side-file.ts'
import { ingestPath, openStore, TempDir } from './temp-store.ts'

const SIZE = 40 * 256 * 1024 + 9
const COMMITTED = 3 * 256 * 1024

/** A store that was closed in the middle of a blob. */
async function leavePartial(dir: TempDir, blob: FixtureBlob, pieces: readonly number[], claims: readonly Claim[] = []): Promise<void> {
  await using store = await openStore(dir)
  await using partial = await store.begin(blob.digest, blob.layout)
  partial.addClaims(claims)
  await writeAll(partial, blob, pieces)
}

/** Opens it again, takes up the blob, and completes it. @returns the pieces that were still there */
async function resume(dir: TempDir, blob: FixtureBlob): Promise<number[]> {
  await using store = await openStore(dir)
  await using partial = await store.begin(blob.digest, blob.layout)
  const found = [...partial.have()]
  await writeAll(partial, blob)
  await partial.commit()
  assert.equal(Buffer.compare(await readAll(partial), blob.bytes), 0)
  return found
}

/** Waits until a side file says of so many pieces that they are there. */
async function onRecord(dir: TempDir, blob: FixtureBlob, pieces: number): Promise<void> {
  const side = ingestPath(dir, blob.digest, 'side')
  const recorded = async () => parseSideFile(await readFile(side).catch(() => new Uint8Array(0)))?.pieces.size ?? 0
  const changes = watch(dirname(side))[Symbol.asyncIterator]()
  for (let next = changes.next(); (await recorded()) < pieces; next = changes.next()) await next
  await changes.return?.()
}

async function flipBit(path: string, offset: number): Promise<void> {
  await using file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, offset)
  byte[0] = (byte[0] ?? 0) ^ 1
  await file.write(byte, 0, 1, offset)
}

describe('after a kill', () => {
  test('every committed blob is there, and a partial one goes on with every piece that was on record', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    const script = new URL('./crash-writer.ts', import.meta.url).pathname
    const child = spawn(process.execPath, [script, dir.path, String(SIZE), String(COMMITTED)], { stdio: ['pipe', 'pipe', 'inherit'] })
    const exited = once(child, 'exit')
    const reported: number[] = []
    // Read on to the end: a writer whose output is closed would end by itself.
    const enough = Promise.withResolvers<void>()
    createInterface({ input: child.stdout }).on('line', (line) => reported.push(Number(line)) === 12 && enough.resolve())
    await enough.promise
    const sure = reported.slice(0, 12)
    await onRecord(dir, blob, sure.length)
    child.kill('SIGKILL')
    assert.equal((await exited)[1], 'SIGKILL')

    await using store = await openStore(dir)
    const committed = fixtureBlob(COMMITTED, { seed: 'committed' })
    await using reader = await store.open(committed.digest)
    assert.ok(reader)
    assert.equal(Buffer.compare(await readAll(reader), committed.bytes), 0)
    await using partial = await store.begin(blob.digest, blob.layout)
    for (const piece of sure) assert.ok(partial.have().has(piece), `piece ${piece} was lost`)
    await writeAll(partial, blob)
    await partial.commit()
    assert.equal(Buffer.compare(await readAll(partial), blob.bytes), 0)
  })

  test('claims are there again', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    const sig = new Uint8Array([7])
    const leased = { blob: blob.digest, run: 0, holder: 'host', serial: 1, by: 'tracker', sig }
    const bare: Claim = { blob: blob.digest, first: 8, hashes: blob.map.slice(256, 512), author: 'other', sig: new Uint8Array([8]) }
    const claims: Claim[] = [{ blob: blob.digest, first: 0, hashes: blob.map.slice(0, 256), author: 'host', lease: leased, sig }, bare]
    await leavePartial(dir, blob, [0], claims)
    await using store = await openStore(dir)
    await using partial = await store.begin(blob.digest, blob.layout)
    assert.deepEqual(
      partial.claims().map((claim) => [claim.author, claim.first, Buffer.from(claim.hashes), claim.lease?.serial]),
      claims.map((claim) => [claim.author, claim.first, Buffer.from(claim.hashes), claim.lease?.serial])
    )
  })

  test('what was discarded stays forgotten', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    {
      await using store = await openStore(dir)
      await using partial = await store.begin(blob.digest, blob.layout)
      await writeAll(partial, blob, [0, 1, 2, 3])
      await partial.discard([1, 2])
      await writeAll(partial, blob, [2])
    }
    assert.deepEqual(await resume(dir, blob), [0, 2, 3])
  })
})

describe('damage to a partial blob', () => {
  test('a flipped bit costs its piece, and no other', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1, 2, 5])
    await flipBit(ingestPath(dir, blob.digest, 'data'), blob.layout.pieceSize + 1000)
    assert.deepEqual(await resume(dir, blob), [0, 2, 5])
  })

  test('a flipped bit in a blob of one piece is found before commit', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(5000)
    await leavePartial(dir, blob, [0])
    await flipBit(ingestPath(dir, blob.digest, 'data'), 17)
    assert.deepEqual(await resume(dir, blob), [])
  })

  test('a data file that lost its end costs what it lost', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1, 2])
    await truncate(ingestPath(dir, blob.digest, 'data'), 2 * blob.layout.pieceSize + 10)
    assert.deepEqual(await resume(dir, blob), [0, 1])
  })

  test('a missing data file costs everything, quietly', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1, 2])
    await rm(ingestPath(dir, blob.digest, 'data'))
    assert.deepEqual(await resume(dir, blob), [])
  })

  test('a record cut anywhere costs the records behind the cut, and new ones are read after it', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1, 2])
    const side = ingestPath(dir, blob.digest, 'side')
    const whole = await readFile(side)
    for (const cut of [1, 20, 44]) {
      await writeFile(side, whole.subarray(0, -cut))
      await leavePartial(dir, blob, [7])
      await using store = await openStore(dir)
      await using partial = await store.begin(blob.digest, blob.layout)
      assert.deepEqual([...partial.have()], [0, 1, 7])
    }
  })

  test('a damaged record costs all behind it, for good', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1, 2])
    const side = ingestPath(dir, blob.digest, 'side')
    const record = 45
    await flipBit(side, (await stat(side)).size - 2 * record + 10)
    await leavePartial(dir, blob, [7])
    assert.deepEqual(await resume(dir, blob), [0, 7])
  })

  test('garbage behind the records, or instead of them, is ignored', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, blob, [0, 1])
    const side = ingestPath(dir, blob.digest, 'side')
    await appendFile(side, Buffer.alloc(300, 0xee))
    await leavePartial(dir, blob, [2])
    await flipBit(side, 3)
    assert.deepEqual(await resume(dir, blob), [])
  })

  test('a blob that turns out to have another size starts anew', async () => {
    await using dir = await TempDir.make()
    const blob = fixtureBlob(SIZE)
    await leavePartial(dir, fixtureBlob(SIZE), [0, 1])
    const longer = { ...blob.layout, size: SIZE + 1 }
    await using store = await openStore(dir)
    await using partial = await store.begin(blob.digest, longer)
    assert.equal(partial.have().count, 0)
  })
})
