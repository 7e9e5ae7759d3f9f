import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { HashThread } from '../../src/store/hash-thread.ts'
import { TempDir } from './temp-store.ts'

const SIZE = 40 * 1024 * 1024 + 3

test('a whole is hashed behind its frontier, and again from the front after a reset', async () => {
  await using dir = await TempDir.make()
  await using thread = new HashThread()
  const blob = fixtureBlob(SIZE)
  const path = join(dir.path, 'file')
  await writeFile(path, blob.bytes)
  const whole = thread.whole(blob.digest, path)
  whole.advance(10)
  assert.equal(whole.hashed, 0, 'ten bytes are not worth a message')
  whole.advance(20 * 1024 * 1024)
  await whole.stop()
  assert.equal(whole.hashed, 16 * 1024 * 1024, 'it ends with the job that runs')
  assert.equal(await whole.matches(SIZE), true)
  await writeFile(path, fixtureBlob(SIZE, { seed: 'other' }).bytes)
  assert.equal(await whole.matches(SIZE), false)
})

test('a file that is too short, or gone, is an error and not a mismatch', async () => {
  await using dir = await TempDir.make()
  await using thread = new HashThread()
  const blob = fixtureBlob(1000)
  const path = join(dir.path, 'file')
  const whole = thread.whole(blob.digest, path)
  await assert.rejects(whole.matches(1000), (error) => isLayerswarmError(error, 'STORE_FAILED'))
  await writeFile(path, blob.bytes.subarray(1))
  await assert.rejects(whole.matches(1000), (error) => isLayerswarmError(error, 'STORE_FAILED'))
  await writeFile(path, blob.bytes)
  assert.equal(await whole.matches(1000), true)
})

test('a thread that dies fails what waits for it; the next job starts another', async () => {
  await using dir = await TempDir.make()
  const script = join(dir.path, 'dies.mjs')
  const path = join(dir.path, 'file')
  const blob = fixtureBlob(1000)
  await writeFile(path, blob.bytes)
  const worker = new URL('../../src/store/hash-worker.ts', import.meta.url).href
  const marker = join(dir.path, 'died')
  // The first thread dies at its first job; the marker lets the second live.
  await writeFile(
    script,
    `import { existsSync, writeFileSync } from 'node:fs'
     import { parentPort } from 'node:worker_threads'
     const marker = ${JSON.stringify(marker)}
     if (existsSync(marker)) await import(${JSON.stringify(worker)})
     else parentPort.once('message', () => { writeFileSync(marker, ''); process.exit(1) })`
  )
  await using thread = new HashThread({ script: new URL(`file://${script}`) })
  await assert.rejects(thread.pieces(path, blob.layout, [0]), (error) => isLayerswarmError(error, 'STORE_FAILED'))
  assert.equal(Buffer.compare(await thread.pieces(path, blob.layout, [0]), blob.hash(0)), 0)
})

test('a closed thread takes no jobs and leaves none waiting', async () => {
  await using dir = await TempDir.make()
  const thread = new HashThread()
  const blob = fixtureBlob(SIZE)
  const path = join(dir.path, 'file')
  await writeFile(path, blob.bytes)
  const waiting = assert.rejects(thread.whole(blob.digest, path).matches(SIZE), (error) => isLayerswarmError(error, 'STORE_FAILED'))
  await thread[Symbol.asyncDispose]()
  await waiting
})
