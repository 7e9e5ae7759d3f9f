// needs: root ip nsenter unshare sysctl mount umount docker-registry
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { command } from '../harness/command.ts'
import { verifyBlobs } from '../harness/content.ts'
import { Fleet } from '../harness/fleet.ts'
import { Agent, layerswarm, MIRROR, newClusterKey } from '../harness/layerswarm.ts'
import type { PublishedImage } from '../harness/published-image.ts'

const MIB = 1024 * 1024
const REPOSITORY = 'team/app'
const OVERSIZED_PORT = 5001
const DIGEST = `sha256:${'0'.repeat(64)}`

const stack = new AsyncDisposableStack()
let fleet: Fleet
let agent: Agent
let image: PublishedImage
let pid: number

before(
  async () => {
    fleet = stack.use(await Fleet.create({ hosts: 3 }))
    const args = ['--insecure-registry', `${fleet.registry.host.address}:${OVERSIZED_PORT}`]
    agent = await fleet.startAgent(fleet.host(1), { args })
    pid = agent.process.pid
    image = await fleet.registry.publish(REPOSITORY, { layers: [{ seed: 'app', size: 2 * MIB }] })
    await agent.pull(fleet.registry.name, REPOSITORY, 'v1', image)
  },
  { timeout: 60_000 }
)
after(() => stack.disposeAsync(), { timeout: 30_000 })

/** Asks the mirror for exactly this path; the answer has to be an error as the OCI specification wants it. */
async function assertRefused(path: string, statuses: readonly number[], headers: Record<string, string> = {}): Promise<void> {
  const result = await agent.host.client.http(`${MIRROR}${path}`, { headers })
  assert.ok(statuses.includes(result.status), `${path.slice(0, 200)}: ${result.status} ${result.text}`)
  const { errors } = JSON.parse(result.text)
  assert.ok(errors[0].code && errors[0].message, result.text)
}

test('an ns that is not listed is refused, and nothing is asked outside', { timeout: 60_000 }, async () => {
  const before = fleet.registry.requests().length
  const others = ['169.254.169.254', 'localhost:5051', '127.0.0.1:5050', `${fleet.registry.host.address}:5002`, 'docker.io', '/etc/passwd']
  for (const ns of others) {
    await assertRefused(`/v2/${REPOSITORY}/manifests/v1?ns=${encodeURIComponent(ns)}`, [404])
    await assertRefused(`/v2/${REPOSITORY}/blobs/${DIGEST}?ns=${encodeURIComponent(ns)}`, [404])
  }
  for (const path of ['169.254.169.254/latest/meta-data', 'evil.example.com/app', '10.77.0.254_5002/team/app', 'localhost/app']) {
    await assertRefused(`/v2/${path}/manifests/v1`, [404])
  }
  assert.equal(fleet.registry.requests().length, before)
})

test('an empty or repeated ns is refused', { timeout: 60_000 }, async () => {
  const { name } = fleet.registry
  for (const query of ['ns=', `ns=${name}&ns=${name}`, `ns=${name}&ns=docker.io`]) {
    await assertRefused(`/v2/${REPOSITORY}/manifests/v1?${query}`, [400])
  }
})

test('hostile paths are refused', { timeout: 60_000 }, async () => {
  const ns = `?ns=${fleet.registry.name}`
  const paths = [
    '/v2/../../etc/passwd',
    '/v2/%2e%2e/%2e%2e/etc/passwd',
    '/v2/team/../app/manifests/v1',
    '/v2/team//app/manifests/v1',
    '/v2/TEAM/app/manifests/v1',
    '/v2/team/app/manifests/..%2f..%2fetc%2fpasswd',
    '/v2/team/app/manifests/v1%00',
    '/v2/team/app/manifests/%ff%fe',
    '/v2/team/app/manifests/%',
    `/v2/team/app/manifests/${'t'.repeat(129)}`,
    `/v2/${'a/'.repeat(300)}a/manifests/v1`,
    '/v2/team/app/blobs/sha256:../../../../etc/passwd',
    '/etc/passwd',
    '//v2/team/app/manifests/v1'
  ]
  for (const path of paths) await assertRefused(path + ns, [400, 404])
})

test('malformed digests are refused', { timeout: 60_000 }, async () => {
  const ns = `?ns=${fleet.registry.name}`
  const malformed = [
    'sha256:',
    'sha256:xyz',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'0'.repeat(63)}`,
    `md5:${'0'.repeat(32)}`,
    `sha512:${'0'.repeat(64)}`
  ]
  for (const digest of malformed) {
    await assertRefused(`/v2/${REPOSITORY}/blobs/${digest}${ns}`, [400, 404])
    await assertRefused(`/v2/${REPOSITORY}/manifests/${digest}${ns}`, [400, 404])
  }
})

test('ranges: what can be served is, what lies outside is 416, what is no range is ignored', { timeout: 60_000 }, async () => {
  const [layer] = image.layers
  assert.ok(layer)
  const { digest, size } = layer
  const expected: readonly [string, number, number][] = [
    ['bytes=0-4', 206, 5],
    ['bytes=-5', 206, 5],
    [`bytes=${size - 3}-`, 206, 3],
    [`bytes=${size - 3}-${size + 1000}`, 206, 3],
    [`bytes=${size}-`, 416, 0],
    ['bytes=99999999999999999999-', 416, 0],
    ['bytes=5-2', 416, 0],
    ['bytes=abc', 200, size],
    ['items=0-4', 200, size],
    ['bytes 0-4', 200, size]
  ]
  for (const [range, status, bytes] of expected) {
    const result = await agent.request(fleet.registry.name, `${REPOSITORY}/blobs/${digest}`, { headers: { range }, keep: 'digest' })
    assert.equal(result.status, status, range)
    if (status !== 416) assert.equal(result.bytes, bytes, range)
    else assert.equal(result.headers['content-range'], `bytes */${size}`)
  }
})

test('headers that are too large, and what is no HTTP, end the connection only', { timeout: 60_000 }, async () => {
  const padding = Array.from({ length: 40 }, (_, index) => [`x-padding-${index}`, 'x'.repeat(4_000)])
  const large = await agent.host.client.http(`${MIRROR}/v2/`, { headers: Object.fromEntries(padding) })
  assert.equal(large.status, 431)
  const raw = await agent.host.client.tcp('127.0.0.1', 5050, Buffer.from('\0\x01\x02 not http at all\r\n\r\n'))
  assert.match(Buffer.from(raw.received, 'base64').toString(), /^HTTP\/1\.1 400 /)
  assert.equal(raw.closedBy, 'them')
})

test('a manifest beyond the size limit is not passed on', { timeout: 60_000 }, async () => {
  const script = fileURLToPath(new URL('../harness/oversized-registry.ts', import.meta.url))
  const { host } = fleet.registry
  const oversized = host.start('oversized', process.execPath, [script, String(OVERSIZED_PORT)])
  await oversized.ready(async () => (await host.client.http(`http://127.0.0.1:${OVERSIZED_PORT}/v2/`)).status === 200)
  await assertRefused(`/v2/team/huge/manifests/v1?ns=${host.address}:${OVERSIZED_PORT}`, [404, 502, 503])
})

test('garbage on the port for peers ends the connection only', { timeout: 60_000 }, async () => {
  const neighbour = fleet.host(2).client
  const garbage = [
    Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    Buffer.alloc(MIB, 0xff),
    Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 31) % 256)),
    Buffer.from('\x13/multistream/1.0.0\n\x07/noise\n\xff\xff', 'latin1')
  ]
  for (const bytes of garbage) assert.equal((await neighbour.tcp(agent.host.address, 5052, bytes, 10_000)).closedBy, 'them')
})

test('a peer of another protocol version is told so, and does not keep anybody from a pull', { timeout: 60_000 }, async () => {
  const script = fileURLToPath(new URL('../harness/stranger.ts', import.meta.url))
  const host = fleet.host(2)
  const wanted = await fleet.registry.publish('team/wanted', { layers: [{ seed: 'wanted', size: 2 * MIB }] })
  const [layer] = wanted.layers
  assert.ok(layer)
  const address = `/ip4/${agent.host.address}/tcp/5052`
  const args = [host.address, fleet.tracker.address, fleet.tracker.clusterKey, address, fleet.registry.layerFile(layer.digest)]
  await using stranger = host.start('stranger', process.execPath, [script, ...args])
  await stranger.ready(() => stranger.log().includes('announced'))
  assert.match(stranger.log(), /^answer PEER_VERSION$/m)

  await agent.pull(fleet.registry.name, 'team/wanted', 'v1', wanted)
  await agent.process.ready(() => /no protocol version in common/.test(agent.process.log()))
})

test('an agent with another cluster key joins nothing and says why; it still pulls', { timeout: 60_000 }, async () => {
  const host = fleet.host(3)
  const clusterKey = await newClusterKey(host, host.dir)
  const outsider = new Agent(host, { ...fleet.agentOptions(), clusterKey })
  await outsider.restart({ waitForTracker: false })
  await outsider.pull(fleet.registry.name, REPOSITORY, 'v1', image)

  assert.equal((await outsider.received()).peer, 0)
  assert.equal(await outsider.isConnectedToTracker(), false)
  await outsider.process.ready(() => /cluster[ -]key/i.test(outsider.process.log()))
  await outsider.process.stop()
})

test('a key file that cannot be read or is none stops the start with its name and the remedy', { timeout: 60_000 }, async () => {
  const host = fleet.host(3)
  const noKey = join(host.dir, 'no.key')
  writeFileSync(noKey, 'this is not a key\n')
  for (const file of ['/nonexistent/cluster.key', host.dir, noKey]) {
    const { code, stderr, stdout } = await layerswarm(host, [
      'agent',
      '--config',
      '/dev/null',
      '--data-dir',
      join(host.dir, 'x'),
      '--cluster-key',
      file
    ])
    assert.ok(code === 1 || code === 2, `exit code ${code}`)
    const said = stderr + stdout
    assert.ok(said.includes(file) && said.includes('layerswarm cluster-key new'), said)
  }
})

test('a host that lets others look at its agent lets none of them have it do anything', { timeout: 60_000 }, async () => {
  const host = fleet.host(3)
  const open = await Agent.start(host, { ...fleet.agentOptions(), args: ['--admin-listen', '0.0.0.0:5051'] })
  const { client } = fleet.host(1)
  const there = `http://${host.address}:5051`
  assert.equal((await client.http(`${there}/metrics`)).status, 200)
  const refused = await layerswarm(fleet.host(1), ['gc', '--agent', there])
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /^error: only this host itself may ask for this: asked from .*\nfix: run the command on the agent's host/)
  assert.equal((await layerswarm(host, ['gc', '--agent', there])).code, 0)
  await open.process.stop()
})

test('a full disk: the pull goes through, the agent lives', { timeout: 60_000 }, async () => {
  const host = fleet.host(3)
  const large = await fleet.registry.publish('team/large', { layers: [{ seed: 'large', size: 48 * MIB }] })
  const dataDir = join(host.dir, 'small')
  mkdirSync(dataDir)
  await command('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', dataDir])
  await using full = { agent: await Agent.start(host, { ...fleet.agentOptions(), dataDir }), [Symbol.asyncDispose]: () => release() }
  const release = async (): Promise<void> => {
    await full.agent.process.stop()
    await command('umount', [dataDir])
  }
  await full.agent.pull(fleet.registry.name, 'team/large', 'v1', large)
  await full.agent.pull(fleet.registry.name, REPOSITORY, 'v1', image)
  assert.ok(full.agent.process.alive)
  await verifyBlobs(full.agent.blobs)
})

test('after all of it the same process serves, and nothing corrupt is stored', { timeout: 60_000 }, async () => {
  assert.equal(agent.process.pid, pid)
  assert.ok(agent.process.alive)
  await agent.pull(fleet.registry.name, REPOSITORY, 'v1', image)
  await fleet.verifyStores()
})
