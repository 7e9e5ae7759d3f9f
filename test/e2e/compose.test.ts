// needs: root ip nsenter unshare sysctl mount dockerd docker docker-compose docker-registry ldd tar
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { importBaseImages } from '../harness/base-images.ts'
import { command } from '../harness/command.ts'
import { Docker } from '../harness/docker.ts'
import { Metrics } from '../harness/layerswarm.ts'
import { type Host, Network } from '../harness/network.ts'
import { waitUntil } from '../harness/process.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const LAYER_BYTES = 5_000_000
/** The mirrors of the three agents, as the host reaches them. */
const MIRRORS = ['localhost:5050', 'localhost:5150', 'localhost:5250'] as const
/** A registry that is the first process of its container takes no notice of being asked to end. */
const STOP_AT_ONCE = ['--timeout', '3']
const READ_METRICS = `process.stdout.write(await (await fetch('http://127.0.0.1:5051/metrics')).text())`

describe('docker-compose up starts a registry, a tracker and three agents', { timeout: 120_000 }, () => {
  const stack = new AsyncDisposableStack()
  let host: Host
  let docker: Docker

  before(async () => {
    const network = stack.use(await Network.create({ hosts: 1 }))
    const [first] = network.hosts
    assert.ok(first)
    host = first
    docker = await Docker.start(host, { containers: true })
    await importBaseImages((args) => docker.run(args), host.dir)
    await command(process.execPath, ['scripts/build.ts'], { cwd: ROOT })
    await compose('up', '--detach')
  })
  after(() => stack.disposeAsync())

  function compose(...args: string[]): Promise<string> {
    return docker.compose(ROOT, ['--project-name', 'try', '--no-ansi', ...args], { PREBUILT: 'yes' })
  }

  async function received(agent: string): Promise<{ registry: number; peer: number }> {
    const metrics = new Metrics(await compose('exec', '-T', agent, 'node', '--input-type=module', '--eval', READ_METRICS))
    const bytes = (source: string): number => metrics.sum('layerswarm_bytes_total', { direction: 'in', source })
    return { registry: bytes('registry'), peer: bytes('peer') }
  }

  test('all agents find the tracker', async () => {
    const fleet = async () => JSON.parse((await host.client.http('http://127.0.0.1:8061/v1/fleet')).text)
    assert.ok(await waitUntil(async () => (await fleet()).hosts.length === MIRRORS.length, 20_000))
    const names = (await fleet()).hosts.map(({ name }: { name: string }) => name)
    assert.deepEqual(names.sort(), ['agent1', 'agent2', 'agent3'])
  })

  test('what is pushed to the registry is pulled through each agent, and leaves the registry once', async () => {
    await pushImage('localhost:5000/hello')
    for (const mirror of MIRRORS) {
      await docker.pull(`${mirror}/registry_5000/hello`)
      await docker.run(['rmi', `${mirror}/registry_5000/hello`])
    }
    const [first, second, third] = [await received('agent1'), await received('agent2'), await received('agent3')]
    assert.ok(first.registry >= LAYER_BYTES, JSON.stringify(first))
    for (const later of [second, third]) {
      assert.ok(later.peer >= LAYER_BYTES && later.registry < LAYER_BYTES / 10, JSON.stringify(later))
    }
  })

  test('what is pushed through one agent is at the registry, and comes from that agent', async () => {
    await pushImage(`${MIRRORS[0]}/registry_5000/pushed`)
    await docker.pull('localhost:5000/pushed')
    const pulled = JSON.parse(await compose('exec', '-T', 'agent2', 'layerswarm', 'pull', 'registry:5000/pushed', '--json'))
    assert.ok(pulled.counts.peer >= LAYER_BYTES, JSON.stringify(pulled))
  })

  test('the agents run as a user that is not root, and only loopback reaches them', async () => {
    const id = (await compose('ps', '--quiet', 'agent1')).trim()
    const [pid] = (await docker.run(['inspect', '--format', '{{.State.Pid}} {{.Config.User}}', id])).split(' ')
    assert.equal((await command('stat', ['--format=%u', `/proc/${pid}`])).trim(), '65532')
    await host.client.tcp('127.0.0.1', 5050, new Uint8Array(), 50)
    const refused = await host.client.tcp(host.address, 5050, new Uint8Array(), 500).catch((error: unknown) => error)
    assert.ok(refused instanceof Error, `${host.address}:5050 answers`)
  })

  test('down and up again keeps the key, the data and the fleet', async () => {
    await compose('down', ...STOP_AT_ONCE)
    await compose('up', '--detach')
    assert.ok(await waitUntil(async () => (await host.client.http('http://127.0.0.1:5050/v2/')).status === 200, 20_000))
    await docker.pull(`${MIRRORS[0]}/registry_5000/hello`)
    assert.ok((await received('agent1')).registry < LAYER_BYTES / 10)
  })

  test('down with --volumes leaves nothing behind', async () => {
    await compose('down', '--volumes', ...STOP_AT_ONCE)
    assert.equal(await docker.run(['ps', '--all', '--quiet']), '')
    assert.equal(await docker.run(['volume', 'ls', '--quiet']), '')
  })

  /** Makes an image of one layer that nobody has, pushes it, and forgets it here. */
  async function pushImage(reference: string): Promise<void> {
    const dir = join(host.dir, 'image')
    mkdirSync(dir, { recursive: true })
    writeFileSync(join(dir, 'data'), randomBytes(LAYER_BYTES))
    await command('tar', ['--create', '--file', `${dir}.tar`, '--directory', dir, 'data'])
    await docker.run(['import', `${dir}.tar`, reference])
    await docker.run(['push', '--quiet', reference])
    await docker.run(['rmi', reference])
  }
})
