import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { findContainerd } from '../../src/containerd/locate.ts'

test('what is named counts, then what its configuration says, then where packages put it', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'locate-'))
  try {
    const [configured, usual, config] = ['a.sock', 'b.sock', 'config.toml'].map((name) => join(dir, name)) as [string, string, string]
    const find = (address?: string, root?: string) => findContainerd({ address, root }, { sockets: [usual], config })
    assert.equal(await find(), undefined)
    assert.equal(await find('none'), undefined)
    assert.deepEqual(await find('/named', '/root'), { socket: '/named', content: '/root/io.containerd.content.v1.content' })
    await writeFile(usual, '')
    assert.equal((await find())?.socket, usual)
    await writeFile(config, `version = 2\n[grpc]\naddress = ${JSON.stringify(configured)}\n`)
    // It is not there yet: then whoever runs has another configuration.
    assert.equal((await find())?.socket, usual)
    await writeFile(configured, '')
    assert.equal((await find())?.socket, configured)
    await writeFile(config, 'broken')
    assert.equal((await find())?.socket, usual)
  } finally {
    await rm(dir, { recursive: true })
  }
})
