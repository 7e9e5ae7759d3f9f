// needs: root mount umount
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { describeError, isLayerswarmError } from '@layerswarm/core/errors.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob, readAll, writeAll } from '@layerswarm/testkit/blob-steps.ts'
import { diskError } from '../../src/store/disk-errors.ts'
import { FsBlobStore } from '../../src/store/fs-blob-store.ts'
import { ROOMY, TempDir } from './temp-store.ts'

const run = promisify(execFile)
const MIB = 1024 * 1024

/** A file system of its own, as small as the test wants it. */
class SmallDisk {
  readonly path: string
  readonly #dir: TempDir

  private constructor(dir: TempDir, path: string) {
    this.#dir = dir
    this.path = path
  }

  static async mount(bytes: number): Promise<SmallDisk> {
    const dir = await TempDir.make()
    const path = join(dir.path, 'disk')
    await mkdir(path)
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path])
    return new SmallDisk(dir, path)
  }

  async remount(options: string): Promise<void> {
    await run('mount', ['-o', `remount,${options}`, this.path])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run('umount', [this.path])
    await this.#dir[Symbol.asyncDispose]()
  }
}

const full = (error: unknown): boolean => isLayerswarmError(error, 'STORE_FULL')

test('what the operating system refuses has the code that helps', () => {
  const coded = (code: string): string => diskError(Object.assign(new Error(code), { code })).code
  assert.deepEqual(['ENOSPC', 'EDQUOT', 'EROFS'].map(coded), Array(3).fill('STORE_FULL'))
  assert.deepEqual(['EIO', 'EACCES', 'EMFILE'].map(coded), Array(3).fill('STORE_FAILED'))
})

describe('a full disk', () => {
  test('refuses the piece, shows nothing of it, keeps what is there, and goes on once there is room', async () => {
    await using disk = await SmallDisk.mount(4 * MIB)
    await using store = await FsBlobStore.open({ dataDir: disk.path, maxBytes: ROOMY })
    const blob = fixtureBlob(6 * MIB)
    await using partial = await store.begin(blob.digest, blob.layout)
    await assert.rejects(writeAll(partial, blob), full)
    const held = partial.have()
    assert.ok(held.count > 0 && !held.complete)
    for (const piece of held) assert.equal(Buffer.compare((await partial.piece(piece)) ?? new Uint8Array(), blob.piece(piece)), 0)
    await disk.remount(`size=${20 * MIB}`)
    await writeAll(partial, blob)
    await partial.commit()
    assert.equal(Buffer.compare(await readAll(partial), blob.bytes), 0)
  })

  test('gives up blobs that nobody uses before it refuses', async () => {
    await using disk = await SmallDisk.mount(6 * MIB)
    await using store = await FsBlobStore.open({ dataDir: disk.path, maxBytes: ROOMY })
    const old = fixtureBlob(3 * MIB, { seed: 'old' })
    await addBlob(store, old)
    const blob = fixtureBlob(4 * MIB)
    await addBlob(store, blob)
    assert.equal(await store.stat(old.digest), undefined)
    await using reader = await store.open(blob.digest)
    assert.ok(reader && Buffer.compare(await readAll(reader), blob.bytes) === 0)
  })

  test('a read-only one is refused at the start, with the reason', async () => {
    await using disk = await SmallDisk.mount(6 * MIB)
    await (await FsBlobStore.open({ dataDir: disk.path, maxBytes: ROOMY }))[Symbol.asyncDispose]()
    await disk.remount('ro')
    await assert.rejects(FsBlobStore.open({ dataDir: disk.path, maxBytes: ROOMY }), (error) => {
      assert.ok(isLayerswarmError(error, 'STORE_FULL', 'STORE_FAILED'))
      assert.match(describeError(error), /read-only|EROFS/i)
      return true
    })
  })
})
