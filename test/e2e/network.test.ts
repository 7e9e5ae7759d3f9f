// needs: root ip tc nsenter unshare sysctl mount docker-registry
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import { Network } from '../harness/network.ts'
import { Registry } from '../harness/registry.ts'

const MIB = 1024 * 1024

test('a shaped link carries its rate, its bytes are counted, and nothing is left behind', { timeout: 60_000 }, async () => {
  let dir: string
  {
    await using network = await Network.create({ hosts: 2, rate: '80mbit' })
    dir = network.dir
    const registry = await Registry.start(network.registry)
    const image = await registry.publish('team/app', { layers: [{ seed: 'one', size: 10 * MIB }] })

    const before = await network.registry.sentBytes()
    const [layer] = image.layers
    assert.ok(layer)
    const [host] = network.hosts
    assert.ok(host)
    const result = await host.client.http(`http://${registry.name}/v2/team/app/blobs/${layer.digest}`, { keep: 'digest' })
    const sent = (await network.registry.sentBytes()) - before

    assert.equal(result.digest, layer.digest)
    assert.ok(sent >= layer.size && sent < layer.size * 1.1, `${sent} bytes sent for ${layer.size}`)
    const ideal = (layer.size * 8) / 80e6
    assert.ok(result.seconds > ideal * 0.9 && result.seconds < ideal * 1.5, `${result.seconds} s, at the full rate ${ideal} s`)
    assert.ok(registry.requests().some(({ path, status }) => path === `/v2/team/app/blobs/${layer.digest}` && status === 200))
    assert.ok(host.pids().length === 0)
    assert.ok(network.registry.pids().length === 1)
  }
  assert.ok(!existsSync(dir))
  const ours = readdirSync('/run/netns').filter((name) => name.startsWith(`lsw-${process.pid}-`))
  assert.deepEqual(ours, [])
})
