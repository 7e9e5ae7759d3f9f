import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { isLayerswarmError } from '../../src/errors.ts'
import { loadIdentity } from '../../src/p2p/identity.ts'

const dir = await mkdtemp(join(tmpdir(), 'identity-'))
after(async () => await rm(dir, { recursive: true }))

const invalid = (error: unknown) => isLayerswarmError(error, 'IDENTITY_INVALID')

test('an identity is made once, kept for its owner alone, and stays the same', async () => {
  const data = join(dir, 'new', 'data')
  const first = await loadIdentity(data)
  assert.match(first.id, /^12D3KooW/)
  assert.equal((await stat(join(data, 'identity.key'))).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(data), ['identity.key'])
  assert.equal((await loadIdentity(data)).id, first.id)
})

test('processes that start at once agree on one identity', async () => {
  const data = join(dir, 'race')
  const ids = await Promise.all(Array.from({ length: 5 }, async () => (await loadIdentity(data)).id))
  assert.equal(new Set(ids).size, 1)
})

test('a broken, foreign or unreadable key file is an error and is left alone', async () => {
  const rsa = Buffer.from(privateKeyToProtobuf(await generateKeyPair('secp256k1'))).toString('base64')
  for (const [name, text] of Object.entries({ empty: '', broken: 'AAAA\n', text: 'not a key at all', foreign: rsa })) {
    const data = join(dir, name)
    await mkdir(data)
    await writeFile(join(data, 'identity.key'), text)
    await assert.rejects(loadIdentity(data), invalid, name)
  }
  await mkdir(join(dir, 'folder', 'identity.key'), { recursive: true })
  await assert.rejects(loadIdentity(join(dir, 'folder')), invalid)
})
