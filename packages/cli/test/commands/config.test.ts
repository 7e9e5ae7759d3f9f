import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import { newClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import { runCommand } from '../run-command.ts'

let folder: string
let file: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layerswarm-config-'))
  file = join(folder, 'agent.toml')
  await writeFile(file, 'zone = "rack-1"\nmax-disk = "20GiB"\nregistry = ["registry.example.com"]\n')
})
after(() => rm(folder, { recursive: true }))

it('prints each option with where it came from', async () => {
  const { code, stdout } = await runCommand(['config', 'print', '--config', file, '--name', 'me'], {
    env: { LAYERSWARM_STALE_TAGS: 'off' }
  })
  assert.equal(code, 0)
  for (const line of [
    'mirror-listen = "127.0.0.1:5050"  # default',
    `zone = "rack-1"  # ${file}`,
    `max-disk = "20Gi"  # ${file}`,
    `registry = ["registry.example.com"]  # ${file}`,
    'stale-tags = "off"  # LAYERSWARM_STALE_TAGS',
    'name = "me"  # --name',
    '# cluster-key is not set'
  ]) {
    assert.ok(stdout.split('\n').includes(line), line)
  }
})

it('prints a file that gives the same options again', async () => {
  const printed = join(folder, 'printed.toml')
  const first = await runCommand(['config', 'print', '--config', file])
  await writeFile(printed, first.stdout)
  const second = await runCommand(['config', 'print', '--config', printed])
  const values = (text: string) => text.replaceAll(/ {2}#.*$/gm, '')
  assert.equal(values(second.stdout), values(first.stdout))
})

it('prints JSON', async () => {
  const { stdout } = await runCommand(['config', 'print', 'standalone', '--json', '--config', file], { env: { LAYERSWARM_NAME: 'me' } })
  const { daemon, file: read, options } = JSON.parse(stdout)
  assert.deepEqual([daemon, read], ['standalone', file])
  assert.deepEqual(options['tracker-listen'], { value: '127.0.0.1:5060', origin: 'default' })
  assert.deepEqual(options.zone, { value: 'rack-1', origin: 'file', from: file })
  assert.deepEqual(options.name, { value: 'me', origin: 'environment', from: 'LAYERSWARM_NAME' })
  assert.deepEqual(options.tracker, { value: [], origin: 'default' })
  assert.deepEqual(options['cluster-key'], { value: null, origin: 'default' })
})

it('checks the file and the key that it names', async () => {
  assert.deepEqual(await runCommand(['config', 'check', '--config', file]), {
    code: 0,
    signal: null,
    stdout: `agent: valid (${file})\n`,
    stderr: ''
  })
  const wrong = await runCommand(['config', 'check', 'tracker', '--config', file])
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /has an unknown key zone; did you mean \S+\?\n {2}.* unknown key max-disk/)

  const key = join(folder, 'key')
  await writeFile(key, 'not a key')
  const broken = await runCommand(['config', 'check', '--cluster-key', key])
  assert.equal(broken.code, 1)
  assert.match(broken.stderr, /^error: the cluster key file is not usable: .*\nfix: /)

  await writeFile(key, newClusterKey())
  await chmod(key, 0o644)
  const open = await runCommand(['config', 'check', 'tracker', '--cluster-key', key, '--json'])
  assert.equal(open.code, 0)
  assert.match(JSON.parse(open.stdout).warning, /can be read by other users/)
})
