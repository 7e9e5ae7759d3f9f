// needs: root ip nsenter unshare sysctl mount docker-registry containerd ctr runc dockerd docker podman nginx openssl
import assert from 'node:assert/strict'
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Containerd } from '../harness/containerd.ts'
import { CriClient } from '../harness/cri.ts'
import { Docker } from '../harness/docker.ts'
import { DOCKER_HUB, startDockerHub } from '../harness/docker-hub.ts'
import { Fleet } from '../harness/fleet.ts'
import { type Agent, layerswarm } from '../harness/layerswarm.ts'
import type { Host } from '../harness/network.ts'
import { Podman } from '../harness/podman.ts'

/** What a stopped agent may add to a pull. */
const MAX_ADDED_MS = 1_000

describe('layerswarm mirror install has real clients ask the agent first', { timeout: 300_000 }, () => {
  const stack = new AsyncDisposableStack()
  let fleet: Fleet
  let host: Host
  let agent: Agent
  let certificate: string
  let images = 0

  before(async () => {
    fleet = stack.use(await Fleet.create({ hosts: 1, registryNames: [DOCKER_HUB] }))
    host = fleet.host(1)
    certificate = await startDockerHub(fleet.registry.host)
    agent = await fleet.startAgent(host, { env: { NODE_EXTRA_CA_CERTS: certificate }, args: ['--registry', 'docker.io'] })
  })
  after(() => stack.disposeAsync())

  test('containerd, by ctr and CRI', async () => {
    const containerd = await Containerd.start(host, { insecure: [fleet.registry.name], config: '' })
    const pull = async () => containerd.pull(await published('ctr/app'))
    const before = files(containerd.hostsDir, containerd.configFile)
    const direct = await timed(pull)

    const args = ['--runtime', 'containerd', '--containerd-config', containerd.configFile]
    assert.match(await mirror('install', args), /to do: .*\n {2}systemctl restart containerd\n/)
    assert.match(
      await mirror('status', args),
      /problem: containerd \(pid \d+\) started before .* was changed\nfix: run: systemctl restart containerd\n/
    )
    await containerd.restart()
    assert.match(await mirror('install', args), /nothing changed/)
    assert.match(await mirror('status', args), /^containerd: installed, .*\n( {2}installed .*\n){3}$/)
    await asksOnlyAgent(/containerd/, pull)
    using cri = new CriClient(containerd.socket)
    await asksOnlyAgent(/containerd/, async () => cri.pull(await published('cri/app')))

    await withoutAgent(async () => {
      assertSoon(await timed(pull), direct)
      assertSoon(await timed(async () => cri.pull(await published('cri/app'))), direct)
    })

    assert.match(await mirror('uninstall', args), /as before the install/)
    assert.deepEqual(files(containerd.hostsDir, containerd.configFile), before)
    await leavesNoTrace(/containerd/, pull)
  })

  test('docker, without a restart', async () => {
    const docker = await Docker.start(host, { trust: certificate })
    const pull = async () => docker.pull((await published('library/app')).replace(/^.*\/library\//, ''))
    const before = files(docker.configFile)
    const direct = await timed(pull)

    const args = ['--runtime', 'docker', '--docker-config', docker.configFile]
    assert.match(await mirror('install', args), /done: dockerd \(pid \d+\) has reloaded its configuration\n/)
    assert.match(await mirror('install', args), /nothing changed/)
    await asksOnlyAgent(/^docker\//, pull)
    await withoutAgent(async () => assertSoon(await timed(pull), direct))

    assert.match(await mirror('uninstall', args), /done: dockerd \(pid \d+\) has reloaded its configuration\n/)
    assert.deepEqual(files(docker.configFile), before)
    await leavesNoTrace(/^docker\//, pull)
  })

  test('podman', async () => {
    const etc = join(host.dir, 'etc-containers')
    cpSync('/etc/containers', etc, { recursive: true })
    writeFileSync(join(etc, 'registries.conf'), `# ours\n[[registry]]\nlocation = "${fleet.registry.name}"\ninsecure = true\n`)
    const podman = new Podman(host, { etc })
    const pull = async () => podman.pull(await published('podman/app'))
    const before = files(etc)
    const direct = await timed(pull)

    const args = ['--runtime', 'podman', '--registries-conf-dir', join(etc, 'registries.conf.d')]
    await mirror('install', [...args, '--registry', fleet.registry.name])
    assert.match(await mirror('install', [...args, '--registry', fleet.registry.name]), /nothing changed/)
    await asksOnlyAgent(/containers|libpod/, pull)
    await withoutAgent(async () => assertSoon(await timed(pull), direct))

    await mirror('uninstall', args)
    assert.deepEqual(files(etc), before)
    await leavesNoTrace(/containers|libpod/, pull)
  })

  /** An image that nobody has yet. */
  async function published(repository: string): Promise<string> {
    images++
    await fleet.registry.publish(`${repository}${images}`, { layers: [{ seed: repository + images, size: 50_000, compression: 'gzip' }] })
    return `${fleet.registry.name}/${repository}${images}:v1`
  }

  async function mirror(action: string, args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await layerswarm(host, [
      'mirror',
      action,
      '--config',
      '/dev/null',
      '--data-dir',
      agent.dataDir,
      ...args
    ])
    assert.equal(code, 0, stdout + stderr)
    return stdout
  }

  /** The requests that a client itself, and no agent, sent to the registry meanwhile. */
  async function askedBy(client: RegExp, pull: () => Promise<unknown>): Promise<number> {
    const earlier = fleet.registry.requests().length
    await pull()
    return fleet.registry
      .requests()
      .slice(earlier)
      .filter(({ userAgent }) => client.test(userAgent)).length
  }

  async function asksOnlyAgent(client: RegExp, pull: () => Promise<unknown>): Promise<void> {
    const { registry } = await agent.received()
    assert.equal(await askedBy(client, pull), 0)
    assert.ok((await agent.received()).registry > registry)
  }

  async function leavesNoTrace(client: RegExp, pull: () => Promise<unknown>): Promise<void> {
    assert.equal(existsSync(join(agent.dataDir, 'mirror')), false)
    const { registry } = await agent.received()
    assert.ok((await askedBy(client, pull)) > 0)
    assert.equal((await agent.received()).registry, registry)
  }

  async function withoutAgent(run: () => Promise<void>): Promise<void> {
    await agent.process.stop()
    await run()
    await agent.restart()
  }
})

function assertSoon(ms: number, direct: number): void {
  assert.ok(ms < direct + MAX_ADDED_MS, `${Math.round(ms)} ms without the agent, ${Math.round(direct)} ms before it was installed`)
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await run()
  return performance.now() - start
}

/** Bytes and modes of files, and of all that is below folders. */
function files(...paths: readonly string[]): ReadonlyMap<string, string> {
  const below = paths.flatMap((path) => [
    path,
    ...(statSync(path).isDirectory() ? readdirSync(path, { recursive: true, encoding: 'utf8' }).map((name) => join(path, name)) : [])
  ])
  return new Map(
    below.sort().map((path) => [path, `${statSync(path).mode} ${statSync(path).isDirectory() ? '' : readFileSync(path, 'utf8')}`])
  )
}
