import assert from 'node:assert/strict'
import { chmodSync, globSync, lstatSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { hexOf } from '@layerswarm/core/digest.ts'
import type { Clients } from '../../harness/clients.ts'
import { Containerd } from '../../harness/containerd.ts'
import { verifyBlobs } from '../../harness/content.ts'
import { CriClient } from '../../harness/cri.ts'
import { Fleet } from '../../harness/fleet.ts'
import { type Agent, layerswarm, MIRROR } from '../../harness/layerswarm.ts'
import { waitUntil } from '../../harness/process.ts'
import type { PublishedImage } from '../../harness/published-image.ts'

const MIB = 1024 * 1024
/** What an agent keeps beside content: its index, its key. */
const NO_CONTENT = MIB

export function describeContainerdContent(clients: Clients): void {
  describeHeld(clients)
  describeNeighbours(clients)
}

function describeHeld(clients: Clients): void {
  describe(`what containerd of ${clients.name} clients holds is shared where it lies`, { timeout: 180_000 }, () => {
    const stack = new AsyncDisposableStack()
    let fleet: Fleet
    let containerd: Containerd
    let holder: Agent
    let image: PublishedImage
    let other: PublishedImage

    before(async () => {
      fleet = stack.use(await Fleet.create({ hosts: 2 }))
      image = await fleet.registry.publish('team/held', { index: true, layers: [{ seed: 'held', size: 12 * MIB }] })
      other = await fleet.registry.publish('team/rotten', { layers: [{ seed: 'rotten', size: 2 * MIB }] })
      containerd = await Containerd.start(fleet.host(1), { clients, insecure: [fleet.registry.name] })
      for (const name of ['team/held', 'team/rotten']) await containerd.fetch(`${fleet.registry.name}/${name}:v1`)
      rot(other)
      await fleet.registry.process.stop()
      holder = await fleet.startAgent(fleet.host(1), { containerd: containerd.socket })
      await fleet.startAgent(fleet.host(2))
    })
    after(() => stack.disposeAsync())

    /** Leaves its layer as it was but for one bit, as a disk that fails does. */
    function rot({ layers: [layer] }: PublishedImage): void {
      assert.ok(layer)
      const file = join(containerd.root, 'io.containerd.content.v1.content/blobs/sha256', hexOf(layer.digest))
      const bytes = readFileSync(file)
      bytes[1000] = (bytes[1000] ?? 0) ^ 1
      chmodSync(file, 0o644)
      writeFileSync(file, bytes)
    }

    async function ofContainerd(): Promise<Record<'offered' | 'unproven' | 'corrupt', { blobs: number; bytes: number }>> {
      return JSON.parse((await holder.host.client.http(`${holder.admin}/v1/status`)).text).containerd
    }

    function pull(repository: string, { root }: PublishedImage) {
      return layerswarm(fleet.host(2), ['pull', `${fleet.registry.name}/${repository}@${root.digest}`, '--json'])
    }

    test('a peer pulls an image that only containerd has, without a registry and without a second copy', async () => {
      // All of both images, but for the corrupt layer.
      const sound = [...image.manifests, image.config, ...image.layers, ...other.manifests, other.config]
      assert.ok(await waitUntil(async () => (await ofContainerd()).offered.blobs === sound.length, 10_000))
      const pulled = await pull('team/held', image)
      assert.equal(pulled.code, 0, pulled.stderr)
      const { counts, bytes } = JSON.parse(pulled.stdout)
      assert.deepEqual(counts, { local: 0, peer: bytes, registry: 0 })
      assert.deepEqual(await verifyBlobs(holder.blobs), [])
      const used = diskBytes(holder.dataDir)
      assert.ok(used < NO_CONTENT, `the agent's data directory takes ${used} bytes beside containerd's`)
    })

    test('ls and check tell of them, and where they lie', async () => {
      const { stdout } = await layerswarm(fleet.host(1), ['ls', '--json'])
      const name = `${fleet.registry.name}/team/held:v1`
      const listed = JSON.parse(stdout).images.find((one: { image: string }) => one.image === name)
      assert.equal(listed?.state, 'complete')
      const blobs = JSON.parse((await layerswarm(fleet.host(1), ['ls', '--blobs', '--json'])).stdout)
      const layer = blobs.find(({ digest }: { digest: string }) => digest === image.layers[0]?.digest)
      assert.deepEqual(layer.places, ['containerd'])
      assert.deepEqual(layer.images, [name])
      assert.equal((await layerswarm(fleet.host(1), ['check', name, '--verify'])).code, 0)
    })

    test('they are listed where no agent runs, too', async () => {
      const args = [
        '--agent',
        'http://127.0.0.1:5999',
        '--data-dir',
        join(holder.host.dir, 'alone'),
        '--containerd-address',
        containerd.socket
      ]
      const { stdout, stderr } = await layerswarm(fleet.host(1), ['ls', '--quiet', ...args])
      assert.equal(stdout, `${fleet.registry.name}/team/held:v1\n`, stderr)
    })

    test('a corrupt blob is never offered', async () => {
      assert.equal((await ofContainerd()).corrupt.blobs, 1)
      const digest = other.layers[0]?.digest
      assert.equal((await holder.host.client.http(`${holder.admin}/v1/blobs/${digest}`)).status, 404)
      const blob = await fleet.host(2).client.http(`${MIRROR}/v2/team/rotten/blobs/${digest}?ns=${encodeURIComponent(fleet.registry.name)}`)
      assert.notEqual(blob.status, 200)
      const checked = await layerswarm(fleet.host(1), ['check', `${fleet.registry.name}/team/rotten:v1`, '--verify'])
      assert.equal(checked.code, 1)
      assert.match(checked.stderr, new RegExp(`^corrupt: ${digest?.slice(7, 19)}, .*/team/rotten:v1; withdrawn$`, 'm'))
    })

    test('it is followed again after a restart', async () => {
      await containerd.restart()
      await containerd.ctr(['images', 'tag', `${fleet.registry.name}/team/held:v1`, `${fleet.registry.name}/team/held:again`])
      const again = async () => (await layerswarm(fleet.host(1), ['ls', '--quiet'])).stdout.includes('team/held:again')
      assert.ok(await waitUntil(again, 15_000))
    })

    test('a blob that rots while it is offered is withdrawn', async () => {
      rot(image)
      assert.ok(await waitUntil(async () => (await ofContainerd()).corrupt.blobs === 2, 10_000))
    })

    test('what containerd drops is offered no longer', async () => {
      const names = ['held:v1', 'held:again', 'rotten:v1'].map((name) => `${fleet.registry.name}/team/${name}`)
      await containerd.ctr(['images', 'rm', '--sync', ...names])
      assert.ok(await waitUntil(async () => (await ofContainerd()).offered.blobs === 0, 10_000))
      const { stdout } = await layerswarm(fleet.host(1), ['ls', '--blobs', '--json'])
      assert.deepEqual(JSON.parse(stdout), [])
    })
  })
}

function describeNeighbours(clients: Clients): void {
  describe(`an agent and containerd of ${clients.name} clients as neighbours`, { timeout: 180_000 }, () => {
    const stack = new AsyncDisposableStack()
    let fleet: Fleet
    let containerd: Containerd
    let agent: Agent

    before(async () => {
      fleet = stack.use(await Fleet.create({ hosts: 2 }))
      containerd = await Containerd.start(fleet.host(1), { clients, mirror: MIRROR })
      agent = await fleet.startAgent(fleet.host(1), { containerd: containerd.socket, args: ['--keep', 'until-ingested'] })
    })
    after(() => stack.disposeAsync())

    test('until-ingested: what came through the agent is on disk once, in containerd', async () => {
      const image = await fleet.registry.publish('team/ingested', { index: true, layers: [{ seed: 'ingested', size: 6 * MIB }] })
      await containerd.pull(`${fleet.registry.name}/team/ingested:v1`)
      // A fetch lingers for its clients before its blob may go.
      assert.ok(await waitUntil(async () => (await verifyBlobs(agent.blobs)).length === 0, 60_000))
      const { blobs } = await containerd.content()
      assert.deepEqual(blobs, [...image.manifests, image.config, ...image.layers].map(({ digest }) => digest).sort())
      assert.ok(diskBytes(agent.dataDir) < NO_CONTENT)
      // And it is had from there when it is asked for again.
      await agent.pull(fleet.registry.name, 'team/ingested', 'v1', image)
    })

    test('a layer that containerd discards once it is unpacked stays in the agent', async () => {
      const discarding = await Containerd.start(fleet.host(2), { clients, mirror: MIRROR, discardsLayers: true })
      const keeper = await fleet.startAgent(fleet.host(2), { containerd: discarding.socket, args: ['--keep', 'until-ingested'] })
      const image = await fleet.registry.publish('team/discarded', { layers: [{ seed: 'discarded', size: 2 * MIB }] })
      using cri = new CriClient(discarding.socket)
      await cri.pull(`${fleet.registry.name}/team/discarded:v1`)
      const layers = image.layers.map(({ digest }) => digest)
      // The manifest and the configuration are kept there, and so go here.
      const kept = [image.manifest.digest, image.config.digest].sort()
      // containerd collects what it discards in its own time.
      assert.ok(await waitUntil(async () => (await discarding.content()).blobs.join() === kept.join(), 60_000))
      assert.ok(await waitUntil(async () => (await verifyBlobs(keeper.blobs)).join() === layers.join(), 60_000))
    })

    test('pull --containerd gives an image that ctr runs', async () => {
      const image = await fleet.registry.publish('team/tool', {
        index: true,
        layers: [{ seed: 'tool', size: MIB, files: { '/bin/busybox': { content: readFileSync('/bin/busybox'), mode: 0o755 } } }],
        config: { Cmd: ['/bin/busybox', 'echo', 'as it should be'] }
      })
      const name = `${fleet.registry.name}/team/tool:v1`
      const first = await layerswarm(fleet.host(1), ['pull', name, '--containerd', '--json'])
      assert.equal(first.code, 0, first.stderr)
      const given = JSON.parse(first.stdout).containerd
      assert.equal(given.blobs, image.manifests.length + 2)
      // The same again finds all of it there.
      const second = await layerswarm(fleet.host(1), ['pull', name, '--containerd', '--json'])
      assert.deepEqual(JSON.parse(second.stdout).containerd, { namespace: 'default', blobs: 0, bytes: 0 })
      const printed = await containerd.ctr(['run', '--rm', '--snapshotter', 'native', name, 'tool'])
      assert.equal(printed.trim(), 'as it should be')
      assert.match(await containerd.ctr(['images', 'check', `name==${name}`]), /complete \(2\/2\)/)
      assert.equal((await containerd.ctr(['leases', 'ls', '--quiet'])).trim(), '')
    })
  })
}

/** What the files below a folder take of the disk. */
function diskBytes(dir: string): number {
  return globSync('**/*', { cwd: dir })
    .map((name) => join(dir, name))
    .filter((path) => lstatSync(path).isFile())
    .reduce((sum, path) => sum + statSync(path).blocks * 512, 0)
}
