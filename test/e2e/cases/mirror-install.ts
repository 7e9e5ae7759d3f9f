import assert from 'node:assert/strict'
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Clients, ConfigVersion } from '../../harness/clients.ts'
import { Containerd } from '../../harness/containerd.ts'
import { CriClient } from '../../harness/cri.ts'
import { Docker } from '../../harness/docker.ts'
import { DOCKER_HUB, startDockerHub } from '../../harness/docker-hub.ts'
import { Fleet } from '../../harness/fleet.ts'
import { type Agent, layerswarm } from '../../harness/layerswarm.ts'
import type { Host } from '../../harness/network.ts'
import { Podman } from '../../harness/podman.ts'
import { waitUntil } from '../../harness/process.ts'
import { skopeoCopy } from '../../harness/skopeo.ts'

/** What a stopped agent may add to a pull. */
const MAX_ADDED_MS = 1_000
/** So that a pull of a large image takes long enough to be hit in the middle. */
const RATE = '80mbit'
const SMALL = 50_000
const LARGE = 20 * 1024 * 1024
/** Of a large image, enough to be in the middle of it. */
const BEGUN = 2 * 1024 * 1024

/** How podman and skopeo call themselves. */
const CONTAINERS_IMAGE = /containers|libpod|skopeo/

/** Pulls an image by its name at the registry. */
type Pull = (reference: string) => Promise<unknown>

/** What `layerswarm mirror` does for every kind of client, whether the agent runs, stops or dies. */
export function describeMirrorInstall(clients: Clients): void {
  describe(`layerswarm mirror install has ${clients.name} clients ask the agent first`, { timeout: 300_000 }, () => {
    const stack = new AsyncDisposableStack()
    let site: Site

    before(async () => {
      site = stack.use(await Site.create())
    })
    after(() => stack.disposeAsync())

    for (const version of clients.containerdConfigs) {
      test(`containerd with a file of version ${version}, by ctr and CRI`, () => containerdAsks(site, clients, version))
    }
    for (const store of clients.dockerStores) {
      test(`docker with its ${store} store, without a restart`, () => dockerAsks(site, clients, store))
    }
    test('podman and skopeo', () => podmanAsks(site, clients))
  })
}

async function containerdAsks(site: Site, clients: Clients, configVersion: ConfigVersion): Promise<void> {
  const name = `containerd${configVersion}`
  const containerd = await Containerd.start(site.host, { name, clients, configVersion, insecure: [site.registry.name], config: '' })
  using cri = new CriClient(containerd.socket)
  const ways: readonly Pull[] = [
    ...clients.ctrWays.map(
      (flags): Pull =>
        (reference) =>
          containerd.pull(reference, ...flags)
    ),
    (reference) => cri.pull(reference)
  ]
  const [byCtr] = ways
  assert.ok(byCtr)
  const before = files(containerd.hostsDir, containerd.configFile)
  const direct = await site.time(byCtr)

  const args = ['--runtime', 'containerd', '--containerd-config', containerd.configFile]
  assert.match(await site.mirror('install', args), /to do: .*\n {2}systemctl restart containerd\n/)
  assert.match(
    await site.mirror('status', args),
    /problem: containerd \(pid \d+\) started before .* was changed\nfix: run: systemctl restart containerd\n/
  )
  await containerd.restart()
  assert.match(await site.mirror('install', args), /nothing changed/)
  assert.match(await site.mirror('status', args), /^containerd: installed, .*\n( {2}installed .*\n){3}$/)
  for (const pull of ways) await site.assertOnlyAgentAsked(/containerd/, pull)
  await site.withoutAgent(async () => {
    for (const pull of ways) assertSoon(await site.time(pull), direct)
  })
  if (configVersion === clients.containerdConfigs[0]) for (const pull of ways) await site.killAgentDuring(pull)

  assert.match(await site.mirror('uninstall', args), /as before the install/)
  assert.deepEqual(files(containerd.hostsDir, containerd.configFile), before)
  await site.assertNoTrace(/containerd/, byCtr)
  await containerd.process.stop()
}

async function dockerAsks(site: Site, clients: Clients, store: Clients['dockerStores'][number]): Promise<void> {
  const docker = await Docker.start(site.host, { clients, store, trust: site.certificate, insecure: [site.registry.name] })
  const fromHub: Pull = (reference) => docker.pull(`docker.io/${reference.slice(reference.indexOf('/') + 1)}`)
  // The classic store asks mirrors for images of Docker Hub only.
  const ways = store === 'classic' ? [fromHub] : [fromHub, (reference: string) => docker.pull(reference)]
  const before = files(docker.configFile, docker.etc)
  const direct = await site.time(fromHub)

  const args = ['--runtime', 'docker', '--docker-config', docker.configFile]
  const registries = ['--registry', 'docker.io', '--registry', site.registry.name]
  assert.match(await site.mirror('install', [...args, ...registries]), /done: dockerd \(pid \d+\) has reloaded its configuration\n/)
  assert.match(await site.mirror('install', [...args, ...registries]), /nothing changed/)
  for (const pull of ways) await site.assertOnlyAgentAsked(/^docker\//, pull)
  const pushed = await site.publish(SMALL)
  await docker.pull(pushed)
  await docker.push(pushed, `${site.registry.name}/pushed/${store}:v1`)
  await site.withoutAgent(async () => {
    for (const pull of ways) assertSoon(await site.time(pull), direct)
  })
  // The classic store asks again after 5, 10, 15, 20 and 25 s before it goes elsewhere: an agent that is back is found.
  for (const pull of ways) await site.killAgentDuring(pull, { isBack: store === 'classic' })

  assert.match(await site.mirror('uninstall', args), /done: dockerd \(pid \d+\) has reloaded its configuration\n/)
  assert.deepEqual(files(docker.configFile, docker.etc), before)
  for (const pull of ways) await site.assertNoTrace(/^docker\//, pull)
  await docker.process.stop()
}

async function podmanAsks(site: Site, clients: Clients): Promise<void> {
  const etc = join(site.host.dir, 'etc-containers')
  cpSync('/etc/containers', etc, { recursive: true })
  writeFileSync(join(etc, 'registries.conf'), `# ours\n[[registry]]\nlocation = "${site.registry.name}"\ninsecure = true\n`)
  const podman = new Podman(site.host, { etc, clients })
  let copies = 0
  const ways: readonly Pull[] = [
    (reference) => podman.pull(reference),
    (reference) => skopeoCopy(site.host, reference, `copy${++copies}`, { etc, clients })
  ]
  const before = files(etc)
  const direct: number[] = []
  for (const pull of ways) direct.push(await site.time(pull))

  const args = ['--runtime', 'podman', '--registries-conf-dir', join(etc, 'registries.conf.d')]
  await site.mirror('install', [...args, '--registry', site.registry.name])
  assert.match(await site.mirror('install', [...args, '--registry', site.registry.name]), /nothing changed/)
  for (const pull of ways) await site.assertOnlyAgentAsked(CONTAINERS_IMAGE, pull)
  await site.withoutAgent(async () => {
    for (const [index, pull] of ways.entries()) assertSoon(await site.time(pull), direct[index] ?? 0)
  })
  // They have chosen where all of an image comes from once they have the manifest; but whoever tries again succeeds.
  for (const pull of ways) await site.killAgentDuring(async (reference) => pull(reference).catch(() => pull(reference)))

  await site.mirror('uninstall', args)
  assert.deepEqual(files(etc), before)
  for (const pull of ways) await site.assertNoTrace(CONTAINERS_IMAGE, pull)
}

/** A host with an agent and clients, and the registry that stands for Docker Hub too. */
class Site implements AsyncDisposable {
  readonly host: Host
  readonly certificate: string
  readonly #fleet: Fleet
  readonly #agent: Agent
  #images = 0

  private constructor(fleet: Fleet, agent: Agent, certificate: string) {
    this.host = agent.host
    this.certificate = certificate
    this.#fleet = fleet
    this.#agent = agent
  }

  static async create(): Promise<Site> {
    await using stack = new AsyncDisposableStack()
    const fleet = stack.use(await Fleet.create({ hosts: 1, rate: RATE, registryNames: [DOCKER_HUB] }))
    const certificate = await startDockerHub(fleet.registry.host)
    const agent = await fleet.startAgent(fleet.host(1), { env: { NODE_EXTRA_CA_CERTS: certificate }, args: ['--registry', 'docker.io'] })
    stack.move()
    return new Site(fleet, agent, certificate)
  }

  get registry(): Fleet['registry'] {
    return this.#fleet.registry
  }

  /** Publishes an image that nobody has yet. */
  async publish(size: number): Promise<string> {
    this.#images += 1
    // Docker gives names without a folder to Docker Hub's library.
    const repository = `library/app${this.#images}`
    await this.registry.publish(repository, { layers: [{ seed: repository, size, compression: 'gzip' }] })
    return `${this.registry.name}/${repository}:v1`
  }

  /** Runs `layerswarm mirror ACTION`, which must succeed; returns what it printed. */
  async mirror(action: string, args: readonly string[]): Promise<string> {
    const own = ['--config', '/dev/null', '--data-dir', this.#agent.dataDir]
    const { code, stdout, stderr } = await layerswarm(this.host, ['mirror', action, ...own, ...args])
    assert.equal(code, 0, stdout + stderr)
    return stdout
  }

  /** What pulling an image takes that nobody has yet, ms. */
  async time(pull: Pull): Promise<number> {
    const reference = await this.publish(SMALL)
    const start = performance.now()
    await pull(reference)
    return performance.now() - start
  }

  async assertOnlyAgentAsked(client: RegExp, pull: Pull): Promise<void> {
    const { registry } = await this.#agent.received()
    assert.equal(await this.#askedBy(client, pull), 0)
    assert.ok((await this.#agent.received()).registry > registry)
  }

  /** After an uninstall the agent has no part in a pull. */
  async assertNoTrace(client: RegExp, pull: Pull): Promise<void> {
    assert.equal(existsSync(join(this.#agent.dataDir, 'mirror')), false)
    const { registry } = await this.#agent.received()
    assert.ok((await this.#askedBy(client, pull)) > 0)
    assert.equal((await this.#agent.received()).registry, registry)
  }

  /**
   * A pull ends well though the agent dies in the middle of it. `isBack`: it is started again at once, as a service
   * manager does; else only when the pull is over.
   */
  async killAgentDuring(pull: Pull, { isBack = false } = {}): Promise<void> {
    let pulled = await this.#underWay(pull)
    // On a machine that has much else to do a pull may be over before anybody has looked.
    for (let tries = 1; pulled === undefined && tries < 5; tries += 1) pulled = await this.#underWay(pull)
    assert.ok(pulled, 'no pull could be caught under way')
    await this.#agent.process.crash()
    if (isBack) await this.#agent.restart()
    await pulled.over
    if (!isBack) await this.#agent.restart()
  }

  /** Begins to pull an image; returns once some of it is there, undefined if all of it is. */
  async #underWay(pull: Pull): Promise<{ over: Promise<unknown> } | undefined> {
    const reference = await this.publish(LARGE)
    const { registry } = await this.#agent.received()
    const over = pull(reference)
    const isUnderWay = waitUntil(async () => (await this.#agent.received()).registry - registry > BEGUN, 20_000)
    assert.ok(await isUnderWay)
    const isOver = await Promise.race([over.then(() => true), new Promise<boolean>((resolve) => setImmediate(resolve, false))])
    return isOver ? undefined : { over }
  }

  async withoutAgent(run: () => Promise<void>): Promise<void> {
    await this.#agent.process.stop()
    await run()
    await this.#agent.restart()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fleet[Symbol.asyncDispose]()
  }

  /** The requests that a client itself, and no agent, sent to the registry meanwhile. */
  async #askedBy(client: RegExp, pull: Pull): Promise<number> {
    const reference = await this.publish(SMALL)
    const earlier = this.registry.requests().length
    await pull(reference)
    return this.registry
      .requests()
      .slice(earlier)
      .filter(({ userAgent }) => client.test(userAgent)).length
  }
}

function assertSoon(ms: number, direct: number): void {
  assert.ok(ms < direct + MAX_ADDED_MS, `${Math.round(ms)} ms without the agent, ${Math.round(direct)} ms before it was installed`)
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
