import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { isLayerswarmError } from '../../src/errors.ts'
import { newClusterKey, noisePrologue, parseClusterKey, readClusterKey, tlsSalt } from '../../src/p2p/cluster-key.ts'

const dir = await mkdtemp(join(tmpdir(), 'cluster-key-'))
after(async () => await rm(dir, { recursive: true }))

const invalid = (error: unknown) => isLayerswarmError(error, 'CLUSTER_KEY_INVALID')

test('a new key is one recognisable line of 256 random bits', () => {
  const text = newClusterKey()
  assert.match(text, /^lsk1_[\w-]{43}$/)
  assert.notEqual(text, newClusterKey())
  assert.equal(parseClusterKey(`${text}\n`).byteLength, 32)
})

test('what is not one whole key is refused', () => {
  const text = newClusterKey()
  for (const wrong of ['', 'hunter2', text.slice(0, -1), `${text}A`, text.slice(5), `${text}\n${text}`, text.replace('lsk1_', 'lsk2_')])
    assert.throws(() => parseClusterKey(wrong), invalid, wrong)
})

test('a key file is read, with a warning when others can read it', async () => {
  const path = join(dir, 'key')
  const text = newClusterKey()
  await writeFile(path, `${text}\n`, { mode: 0o600 })
  assert.deepEqual(await readClusterKey(path), { key: parseClusterKey(text) })
  await chmod(path, 0o644)
  assert.match((await readClusterKey(path)).warning ?? '', /chmod 600/)
})

test('a file that is missing, a directory or not a key is an error that names it', async () => {
  const path = join(dir, 'other')
  await writeFile(path, 'x'.repeat(5000))
  for (const wrong of [join(dir, 'none'), dir, path])
    await assert.rejects(readClusterKey(wrong), (error) => invalid(error) && String(error).includes(wrong))
})

test('what is derived from a key differs by purpose and by key', () => {
  const key = parseClusterKey(newClusterKey())
  const other = parseClusterKey(newClusterKey())
  const derived = [noisePrologue(key), tlsSalt(key), noisePrologue(other), tlsSalt(other)].map((bytes) =>
    Buffer.from(bytes).toString('hex')
  )
  assert.equal(new Set(derived).size, 4)
  assert.deepEqual(noisePrologue(key), noisePrologue(key))
})
