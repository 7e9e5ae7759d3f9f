import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { defaultMaxBytes } from '../src/disk-bound.ts'

test('the bound is a share of what was free at first, and then stays', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'disk-bound-'))
  t.after(() => rm(dir, { recursive: true }))
  const bytes = await defaultMaxBytes(dir)
  assert.ok(bytes > 0)
  await writeFile(join(dir, 'max-disk'), '12345\n')
  assert.equal(await defaultMaxBytes(dir), 12_345)
})

test('a data directory that cannot be written is told as such', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'disk-bound-'))
  t.after(() => rm(dir, { recursive: true }))
  await mkdir(join(dir, 'max-disk'))
  await assert.rejects(defaultMaxBytes(dir), { code: 'STORE_FAILED' })
})
