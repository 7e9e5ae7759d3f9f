import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import { parseClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import { runCommand } from '../run-command.ts'

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layerswarm-key-'))
})
after(() => rm(folder, { recursive: true }))

it('prints a new key each time', async () => {
  const [first, second] = await Promise.all([runCommand(['cluster-key', 'new']), runCommand(['cluster-key', 'new'])])
  assert.equal(first.code, 0)
  assert.equal(parseClusterKey(first.stdout).byteLength, 32)
  assert.notEqual(first.stdout, second.stdout)
})

it('writes a file that only its owner can read', async () => {
  const file = join(folder, 'cluster.key')
  const { code, stdout } = await runCommand(['cluster-key', 'new', '--out', file])
  assert.deepEqual([code, stdout], [0, ''])
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.equal(parseClusterKey(await readFile(file, 'utf8')).byteLength, 32)
})

it('never replaces a file', async () => {
  const file = join(folder, 'other.key')
  await writeFile(file, 'precious')
  const { code, stderr } = await runCommand(['cluster-key', 'new', '--out', file])
  assert.equal(code, 1)
  assert.match(stderr, /^error: the key was not written: .*other\.key.*EEXIST.*\nfix: name a file that does not exist/)
  assert.equal(await readFile(file, 'utf8'), 'precious')
})

it('makes a file once with --if-missing', async () => {
  const file = join(folder, 'once.key')
  const args = ['cluster-key', 'new', '--if-missing', '--out', file]
  assert.equal((await runCommand(args)).code, 0)
  const key = await readFile(file, 'utf8')
  assert.equal(parseClusterKey(key).byteLength, 32)
  assert.deepEqual(await runCommand(args), { code: 0, signal: null, stdout: '', stderr: '' })
  assert.equal(await readFile(file, 'utf8'), key)

  const nowhere = await runCommand(['cluster-key', 'new', '--if-missing'])
  assert.deepEqual([nowhere.code, nowhere.stdout], [2, ''])
})
