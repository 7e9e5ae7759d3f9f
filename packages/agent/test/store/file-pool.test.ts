import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { FilePool } from '../../src/store/file-pool.ts'
import { READ_FLAGS } from '../../src/store/store-files.ts'
import { TempDir } from './temp-store.ts'

/** At one moment: the descriptor with which they are listed is one of them, and of lists made side by side there would be several. */
function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}

test('no more files are open than allowed, however many are used at once', async () => {
  await using dir = await TempDir.make()
  const names = Array.from({ length: 40 }, (_, at) => join(dir.path, String(at)))
  for (const name of names) await writeFile(name, name)
  const before = descriptors()
  await using pool = new FilePool({ maxOpen: 3 })
  let most = 0
  const read = await Promise.all(
    names.map((name) =>
      pool.use(name, name, READ_FLAGS, async (file) => {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(500), 0, 500, 0)
        most = Math.max(most, descriptors() - before)
        return buffer.toString('utf8', 0, bytesRead)
      })
    )
  )
  assert.deepEqual(read, names)
  // One more may be on its way to be closed.
  assert.ok(most <= 4, `${most} files were open`)
})

test('a file that cannot be opened is tried again at its next use', async () => {
  await using dir = await TempDir.make()
  await using pool = new FilePool({ maxOpen: 1 })
  const path = join(dir.path, 'late')
  await assert.rejects(
    pool.use('late', path, READ_FLAGS, async () => {}),
    { code: 'ENOENT' }
  )
  await writeFile(path, 'here')
  assert.equal(await pool.use('late', path, READ_FLAGS, async (file) => (await file.stat()).size), 4)
})

test('a file is forgotten once its users are done, and a closed pool opens none', async () => {
  await using dir = await TempDir.make()
  const pool = new FilePool({ maxOpen: 2 })
  const path = join(dir.path, 'file')
  await writeFile(path, 'bytes')
  const order: string[] = []
  const user = pool.use('key', path, READ_FLAGS, async (file) => {
    await file.stat()
    order.push('used')
  })
  await pool.forget('key').then(() => order.push('closed'))
  await user
  assert.deepEqual(order, ['used', 'closed'])
  await pool[Symbol.asyncDispose]()
  await assert.rejects(
    pool.use('key', path, READ_FLAGS, async () => {}),
    (error) => isLayerswarmError(error, 'STORE_FAILED')
  )
})
