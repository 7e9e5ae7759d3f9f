import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { digestOf, hexOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import type { Clients } from '../../harness/clients.ts'
import { Containerd } from '../../harness/containerd.ts'
import { Docker } from '../../harness/docker.ts'
import { Fleet } from '../../harness/fleet.ts'
import { type Agent, layerswarm } from '../../harness/layerswarm.ts'
import type { Host } from '../../harness/network.ts'
import { Podman } from '../../harness/podman.ts'
import { payloadBytes } from '../../harness/published-image.ts'
import { skopeoCopy } from '../../harness/skopeo.ts'

const MIB = 1024 * 1024

interface Named {
  readonly digest: string
}

/** Two agents, the first of which takes pushes, and a registry that is watched. */
class PushFleet implements AsyncDisposable {
  readonly fleet: Fleet
  readonly pusher: Host
  readonly taking: Agent
  readonly other: Agent
  readonly containerd: Containerd
  /** How images name the registry where the agent that takes pushes stands for it. */
  readonly through: string
  readonly #clients: Clients

  private constructor(fleet: Fleet, taking: Agent, other: Agent, containerd: Containerd, clients: Clients) {
    this.#clients = clients
    this.fleet = fleet
    this.pusher = taking.host
    this.taking = taking
    this.other = other
    this.containerd = containerd
    this.through = `localhost:5050/${fleet.registry.name.replace(':', '_')}`
  }

  static async start(clients: Clients): Promise<PushFleet> {
    await using stack = new AsyncDisposableStack()
    const fleet = stack.use(await Fleet.create({ hosts: 2 }))
    const containerd = await Containerd.start(fleet.host(1), { clients, insecure: [fleet.registry.name] })
    const taking = await fleet.startAgent(fleet.host(1), { args: ['--allow-push'], containerd: containerd.socket })
    const other = await fleet.startAgent(fleet.host(2))
    stack.move()
    return new PushFleet(fleet, taking, other, containerd, clients)
  }

  get registry(): string {
    return this.fleet.registry.name
  }

  /** @returns the name of an image that clients are to push, at the registry itself */
  async publish(name: string): Promise<string> {
    const layers = [
      { seed: `${name}/large`, size: 3 * MIB, compression: 'gzip' as const },
      { seed: `${name}/small`, size: 20_000, compression: 'gzip' as const }
    ]
    await this.fleet.registry.publish(`src/${name}`, { layers })
    return `${this.registry}/src/${name}:v1`
  }

  requests(repository: string, method: RegExp, path: RegExp) {
    const prefix = `/v2/${repository}/`
    return this.fleet.registry.requests().filter((one) => one.path.startsWith(prefix) && method.test(one.method) && path.test(one.path))
  }

  /** Requests for uploads to a repository, and the bytes of blobs that the agent has sent to the registry. */
  async moved(repository: string): Promise<{ opened: number; sent: number }> {
    return {
      opened: this.requests(repository, /POST|PATCH|PUT/, /\/blobs\/uploads\//).length,
      sent: (await this.taking.metrics()).sum('layerswarm_bytes_total', { direction: 'out', source: 'registry' })
    }
  }

  /** Pulls on the other host what a client has pushed: its blobs have to come from the agent that took them. */
  async assertPushed(repository: string, tag: string): Promise<void> {
    const { registry, other } = this
    const manifest = await other.request(registry, `${repository}/manifests/${tag}`, { headers: { accept: '*/*' } })
    assert.equal(manifest.status, 200, manifest.text)
    const { config, layers }: { config: Named; layers: readonly Named[] } = JSON.parse(manifest.text)
    for (const { digest } of [config, ...layers]) await other.expect(registry, `${repository}/blobs/${digest}`, digest)
    this.assertNotFetched(repository)
    const writers = this.requests(repository, /POST|PATCH|PUT/, /./).map(({ userAgent }) => userAgent)
    assert.ok(writers.length > 0 && writers.every((agent) => agent.startsWith('layerswarm/')), String(writers))
  }

  assertNotFetched(repository: string): void {
    assert.deepEqual(this.requests(repository, /GET/, /\/blobs\/sha256/), [])
  }

  async skopeo(host: Host, from: string, to: string) {
    const flags = ['--quiet', '--all', ...(from.startsWith('docker:') ? ['--src-tls-verify=false'] : [])]
    if (to.startsWith('docker:')) flags.push('--dest-tls-verify=false')
    return await host.tryRun('skopeo', ['--insecure-policy', 'copy', ...flags, from, to], { binds: this.#clients.binds })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fleet[Symbol.asyncDispose]()
  }
}

/** Writes what `helm push` makes of a chart, as an image layout with the tag 1. @returns the digest of its manifest */
function writeChart(layout: string): string {
  const blobs = join(layout, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const put = (bytes: Uint8Array, mediaType: string) => {
    const digest = digestOf(bytes)
    writeFileSync(join(blobs, hexOf(digest)), bytes)
    return { mediaType, digest, size: bytes.byteLength }
  }
  const config = put(Buffer.from('{"name":"chart","version":"1.0.0"}'), 'application/vnd.cncf.helm.config.v1+json')
  const layer = put(new SeededRandom('chart').bytes(2 * MIB), 'application/vnd.cncf.helm.chart.content.v1.tar+gzip')
  const mediaType = MEDIA_TYPES.ociManifest
  const manifest = put(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [layer] })), mediaType)
  const annotations = { 'org.opencontainers.image.ref.name': '1' }
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }))
  return manifest.digest
}

let under: PushFleet

/** Pushes of every kind of client through an agent, and of `layerswarm` itself. */
export function describePushes(clients: Clients): void {
  const stack = new AsyncDisposableStack()
  before(async () => {
    under = stack.use(await PushFleet.start(clients))
  })
  after(() => stack.disposeAsync())

  describeClients(clients)
  describeOwn()
}

function describeClients(clients: Clients): void {
  describe(`what a client of ${clients.name} pushes through an agent is at the registry and in the fleet`, { timeout: 120_000 }, () => {
    test('podman', async () => {
      const { pusher, through } = under
      const source = await under.publish('podman')
      const podman = new Podman(pusher, { clients })
      await podman.pull(source, { insecure: true })
      await podman.push(source, `${through}/pushed/podman:1`)
      await under.assertPushed('pushed/podman', '1')
    })

    for (const store of clients.dockerStores) {
      test(`docker with its ${store} store, whose second tag moves no layer`, async () => {
        const { pusher, through, registry } = under
        const repository = `pushed/docker-${store}`
        const source = await under.publish(`docker-${store}`)
        const docker = await Docker.start(pusher, { clients, store, insecure: [registry] })
        await docker.pull(source)
        await docker.push(source, `${through}/${repository}:1`)
        await under.assertPushed(repository, '1')
        const first = await under.moved(repository)
        await docker.push(source, `${through}/${repository}:2`)
        assert.deepEqual(await under.moved(repository), first)
      })
    }

    test('ctr', async () => {
      const { through, containerd } = under
      const source = await under.publish('ctr')
      await containerd.fetch(source)
      await containerd.ctr(['images', 'push', '--plain-http', `${through}/pushed/ctr:1`, source])
      await under.assertPushed('pushed/ctr', '1')
    })

    test('skopeo, with a Helm chart, which is then pulled, listed and checked like an image', async () => {
      const { pusher, through, registry, fleet, other } = under
      const layout = join(pusher.dir, 'chart')
      const chart = writeChart(layout)
      const { code, stderr } = await under.skopeo(pusher, `oci:${layout}:1`, `docker://${through}/pushed/chart:1`)
      assert.equal(code, 0, stderr)
      const name = `${registry}/pushed/chart:1`
      const command = async (...args: string[]) => {
        const done = await layerswarm(fleet.host(2), [...args, '--json'])
        assert.equal(done.code, 0, done.stderr)
        return done.stdout
      }
      const { digest, counts } = JSON.parse(await command('pull', name))
      assert.deepEqual([digest, counts.registry], [chart, 0])
      assert.match(await command('ls'), /pushed\/chart:1/)
      assert.match(await command('check', name, '--verify'), /"complete"/)
      under.assertNotFetched('pushed/chart')
      await other.expect(registry, `pushed/chart/manifests/${chart}`, chart)
    })

    test('skopeo, whose second tag moves no layer', async () => {
      const { pusher, through } = under
      const source = await under.publish('skopeo')
      const copy = async (tag: string) => {
        const { code, stderr } = await under.skopeo(pusher, `docker://${source}`, `docker://${through}/pushed/skopeo:${tag}`)
        assert.equal(code, 0, stderr)
      }
      await copy('1')
      await under.assertPushed('pushed/skopeo', '1')
      const first = await under.moved('pushed/skopeo')
      await copy('2')
      assert.deepEqual(await under.moved('pushed/skopeo'), first)
      const pull = (tag: string) => skopeoCopy(pusher, `${through}/pushed/skopeo:${tag}`, `pulled-${tag}`, { clients, insecure: true })
      assert.deepEqual(await pull('2'), await pull('1'))
    })
  })
}

function describeOwn(): void {
  describe('layerswarm push', { timeout: 60_000 }, () => {
    test('gives a registry what only containerd has, under a name of no registry', async () => {
      const { pusher, registry, containerd } = under
      const source = await under.publish('contained')
      const local = 'registry.invalid/only/here:1'
      await containerd.fetch(source)
      await containerd.ctr(['images', 'tag', source, local])
      await containerd.ctr(['images', 'rm', source])
      const to = `${registry}/pushed/contained:1`
      // Straight after it came: what the agent has not hashed by then is hashed first.
      const pushed = await layerswarm(pusher, ['push', to, '--from', `containerd:${local}`])
      assert.equal(pushed.code, 0, pushed.stderr)
      await under.assertPushed('pushed/contained', '1')
      const unknown = await layerswarm(pusher, ['push', to, '--from', 'containerd:registry.invalid/none:1'])
      assert.equal(unknown.code, 1)
      assert.match(unknown.stderr, /no such image.*in containerd/)
    })

    test('sends all of a layout once, then tags and repositories without a byte of a layer', async () => {
      const { fleet, pusher, registry, other } = under
      const image = await fleet.registry.publish('src/own', { layers: [{ seed: 'own', size: 4 * MIB }], attestation: true })
      const layout = join(pusher.dir, 'layout')
      assert.equal((await under.skopeo(pusher, `docker://${registry}/src/own:v1`, `oci:${layout}:v1`)).code, 0)
      const push = async (repository: string, tag: string, ...from: string[]) => {
        const earlier = await under.moved(repository)
        const { code, stdout, stderr } = await layerswarm(pusher, ['push', `${registry}/${repository}:${tag}`, ...from, '--json'])
        assert.equal(code, 0, stderr)
        assert.equal(JSON.parse(stdout).digest, image.root.digest)
        const later = await under.moved(repository)
        return { sent: later.sent - earlier.sent, opened: later.opened - earlier.opened }
      }
      const first = await push('pushed/own', '1', '--from', `oci:${layout}`)
      assert.ok(first.sent >= payloadBytes(image), `${first.sent} bytes were sent`)
      const from = ['--from', `store:${registry}/pushed/own:1`]
      assert.deepEqual(await push('pushed/own', '2', ...from), { sent: 0, opened: 0 })
      // One request for each blob mounts it.
      assert.deepEqual(await push('pushed/elsewhere', '1', ...from), { sent: 0, opened: image.blobs.length })
      await other.pull(registry, 'pushed/own', '2', image)
      await other.pull(registry, 'pushed/elsewhere', '1', image)
      for (const repository of ['pushed/own', 'pushed/elsewhere']) under.assertNotFetched(repository)
      await fleet.verifyStores()
    })
  })

  test('an agent that takes no pushes says so, and one whose registry is gone says that', { timeout: 60_000 }, async () => {
    const { fleet, pusher, through } = under
    const folder = `dir:${join(pusher.dir, 'refused')}`
    assert.equal((await under.skopeo(pusher, `docker://${await under.publish('refused')}`, folder)).code, 0)
    const refused = await under.skopeo(fleet.host(2), folder, `docker://${through}/pushed/refused:1`)
    assert.notEqual(refused.code, 0)
    assert.match(refused.stderr, /takes no pushes/)
    await fleet.registry.process.stop()
    const gone = await under.skopeo(pusher, folder, `docker://${through}/pushed/refused:1`)
    assert.notEqual(gone.code, 0)
    // The first that it asks is a HEAD, whose answer has no room for words.
    assert.match(gone.stderr, /503|cannot be reached/)
  })
}
