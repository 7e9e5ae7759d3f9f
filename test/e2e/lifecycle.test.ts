// needs: root ip tc nsenter unshare sysctl mount docker-registry
import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { verifyBlobs } from '../harness/content.ts'
import { Fleet } from '../harness/fleet.ts'
import { type Agent, layerswarm } from '../harness/layerswarm.ts'

const MIB = 1024 * 1024
const AGENT_METRICS = [
  'layerswarm_bytes_total',
  'layerswarm_requests_total',
  'layerswarm_piece_failures_total',
  'layerswarm_pull_seconds',
  'layerswarm_first_byte_seconds',
  'layerswarm_store_bytes',
  'layerswarm_peers',
  'layerswarm_registry_requests_total'
]
const TRACKER_METRICS = ['layerswarm_hosts', 'layerswarm_leases', 'layerswarm_plan_seconds', 'layerswarm_fleet_egress_ratio']

describe('a host from start to stop', { timeout: 120_000 }, () => {
  const stack = new AsyncDisposableStack()
  let fleet: Fleet
  let agents: Agent[]

  before(async () => {
    fleet = stack.use(await Fleet.create({ hosts: 2, rate: '80mbit' }))
    agents = await fleet.startAgents(1, 2)
  })
  after(() => stack.disposeAsync())

  test('health, readiness and the pinned metrics', async () => {
    const [agent] = agents
    assert.ok(agent)
    assert.equal((await agent.host.client.http(`${agent.admin}/healthz`)).status, 200)
    assert.ok(await agent.isConnectedToTracker())
    const { text: page } = await agent.metrics()
    for (const name of AGENT_METRICS) assert.match(page, new RegExp(`^# TYPE ${name} `, 'm'))

    const tracker = fleet.tracker.host.client
    for (const path of ['healthz', 'readyz']) assert.equal((await tracker.http(`http://127.0.0.1:5061/${path}`)).status, 200)
    const { text } = await fleet.tracker.metrics()
    for (const name of TRACKER_METRICS) assert.match(text, new RegExp(`^# TYPE ${name} `, 'm'))
  })

  test('layerswarm pull fetches into the store of the host and says from where', async () => {
    const image = await fleet.registry.publish('team/pulled', { layers: [{ seed: 'pulled', size: 4 * MIB }], attestation: true })
    const reference = `${fleet.registry.name}/team/pulled:v1`
    const first = await layerswarm(fleet.host(1), ['pull', reference, '--json'])
    assert.equal(first.code, 0, first.stderr)
    const result = JSON.parse(first.stdout)
    assert.equal(result.digest, image.root.digest)
    assert.ok(result.counts.registry >= 4 * MIB)

    const second = await layerswarm(fleet.host(2), ['pull', reference])
    assert.equal(second.code, 0, second.stderr)
    assert.match(second.stdout, /peer/)
    const stored = await verifyBlobs(agents[1]?.blobs ?? '')
    for (const { digest } of [image.config, ...image.layers]) assert.ok(stored.includes(digest))
  })

  test('a pull of what does not exist fails with 1 and the reason, a wrong reference with 2', async () => {
    const missing = await layerswarm(fleet.host(1), ['pull', `${fleet.registry.name}/team/none:v1`])
    assert.equal(missing.code, 1)
    assert.match(missing.stderr, /^error: /m)
    const wrong = await layerswarm(fleet.host(1), ['pull', 'Not An Image'])
    assert.equal(wrong.code, 2)
    assert.match(wrong.stderr, /^error: /m)
  })

  test('layerswarm cluster-key new makes a key that only its owner can read, and never replaces one', async () => {
    const host = fleet.host(1)
    const file = join(host.dir, 'new.key')
    assert.equal((await layerswarm(host, ['cluster-key', 'new', '--out', file])).code, 0)
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const key = readFileSync(file, 'utf8')
    assert.equal((await layerswarm(host, ['cluster-key', 'new', '--out', file])).code, 1)
    assert.equal(readFileSync(file, 'utf8'), key)
  })

  test('layerswarm config says what is in force and from where, and refuses what is wrong', async () => {
    const host = fleet.host(1)
    const args = ['config', 'print', 'agent', '--config', '/dev/null', '--max-disk', '20GiB', '--json']
    const printed = await layerswarm(host, args, { LAYERSWARM_NAME: 'from-environment' })
    assert.equal(printed.code, 0, printed.stderr)
    const { options } = JSON.parse(printed.stdout)
    assert.equal(options['max-disk'].origin, 'flag')
    assert.equal(options.name.value, 'from-environment')
    assert.equal(options['mirror-listen'].value, '127.0.0.1:5050')
    const wrong = await layerswarm(host, ['config', 'check', '--config', '/dev/null', '--max-disk', 'plenty'])
    assert.equal(wrong.code, 2)
    assert.match(wrong.stderr, /max-disk/)
  })

  test('SIGTERM in the middle of a pull: the client gets the rest, the agent exits with 0 within ten seconds', async () => {
    const image = await fleet.registry.publish('team/drained', { layers: [{ seed: 'drained', size: 16 * MIB }] })
    const [layer] = image.layers
    assert.ok(layer)
    const [agent] = agents
    assert.ok(agent)
    await agent.resolve(fleet.registry.name, 'team/drained', 'v1', image)
    const transfer = agent.request(fleet.registry.name, `team/drained/blobs/${layer.digest}`, { keep: 'digest' })
    await transfer.reached(layer.size / 2)
    const began = performance.now()
    agent.process.signal('SIGTERM')
    const [result, exit] = await Promise.all([transfer, agent.process.exited])
    assert.equal(result.digest, layer.digest)
    assert.deepEqual(exit, { code: 0, signal: null })
    assert.ok(performance.now() - began < 10_000)
  })
})
