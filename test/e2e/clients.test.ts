// needs: root ip nsenter unshare sysctl mount docker-registry containerd ctr runc dockerd docker podman skopeo nginx openssl
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { ImageSpec } from '@layerswarm/testkit/oci-image.ts'
import { Containerd } from '../harness/containerd.ts'
import { CriClient } from '../harness/cri.ts'
import { Docker } from '../harness/docker.ts'
import { DOCKER_HUB, startDockerHub } from '../harness/docker-hub.ts'
import { Fleet } from '../harness/fleet.ts'
import { MIRROR } from '../harness/layerswarm.ts'
import type { Host } from '../harness/network.ts'
import { Podman, registriesConf } from '../harness/podman.ts'
import type { PublishedImage } from '../harness/published-image.ts'
import { skopeoCopy } from '../harness/skopeo.ts'

const MIB = 1024 * 1024

type Form = 'manifest' | 'index' | 'docker'

/** What every client is given: each form of manifest, each compression that it can read. */
const SHAPES: readonly { form: Form; compression: 'gzip' | 'zstd' }[] = [
  { form: 'manifest', compression: 'gzip' },
  { form: 'manifest', compression: 'zstd' },
  { form: 'index', compression: 'gzip' },
  { form: 'index', compression: 'zstd' },
  { form: 'docker', compression: 'gzip' }
]
/** Docker 20.10 cannot unpack zstd. */
const DOCKER_SHAPES = SHAPES.filter(({ compression }) => compression === 'gzip')

describe('each client pulls through the agent what it pulls from the registry itself', { timeout: 300_000 }, () => {
  const stack = new AsyncDisposableStack()
  let fleet: Fleet
  /** The host whose clients have the agent as their mirror, and the one whose clients go to the registry. */
  let mirrored: Host
  let direct: Host

  before(async () => {
    fleet = stack.use(await Fleet.create({ hosts: 2, registryNames: [DOCKER_HUB] }))
    mirrored = fleet.host(1)
    direct = fleet.host(2)
    const certificate = await startDockerHub(fleet.registry.host)
    await fleet.startAgent(mirrored, { env: { NODE_EXTRA_CA_CERTS: certificate }, args: ['--registry', 'docker.io'] })
  })
  after(() => stack.disposeAsync())

  /** Publishes an image that no other test uses, so that the first pull of it is cold in the agent. */
  async function publish(client: string, shape: (typeof SHAPES)[number]): Promise<{ repository: string; image: PublishedImage }> {
    const repository = `${client}/${shape.form}-${shape.compression}`
    return { repository, image: await fleet.registry.publish(repository, specOf(shape, repository)) }
  }

  /** No client of the mirrored host may have asked the registry itself: all of it came from the agent. */
  function assertOnlyAgentAsked(client: RegExp): void {
    const askedAround = fleet.registry.requests().filter(({ from, userAgent }) => isFrom(from, mirrored) && client.test(userAgent))
    assert.deepEqual(askedAround, [])
    assert.ok(fleet.registry.requests().some(({ from }) => isFrom(from, mirrored)))
  }

  describe('containerd', () => {
    let viaAgent: Containerd
    let viaRegistry: Containerd

    before(async () => {
      viaAgent = await Containerd.start(mirrored, { mirror: MIRROR, insecure: [] })
      viaRegistry = await Containerd.start(direct, { insecure: [fleet.registry.name] })
    })

    for (const shape of SHAPES) {
      test(`ctr: ${shape.form}, ${shape.compression}`, async () => {
        const { repository, image } = await publish('ctr', shape)
        for (const reference of references(fleet.registry.name, repository, image)) {
          await viaAgent.clear()
          await viaRegistry.clear()
          await viaAgent.pull(reference)
          await viaRegistry.pull(reference)
          const content = await viaAgent.content()
          assert.deepEqual(content, await viaRegistry.content())
          for (const { digest } of [image.root, image.manifest, image.config, ...image.layers]) assert.ok(content.blobs.includes(digest))
        }
        assertOnlyAgentAsked(/containerd/)
      })

      test(`CRI: ${shape.form}, ${shape.compression}`, async () => {
        using criViaAgent = new CriClient(viaAgent.socket)
        using criViaRegistry = new CriClient(viaRegistry.socket)
        const { repository, image } = await publish('cri', shape)
        for (const reference of references(fleet.registry.name, repository, image)) {
          await viaAgent.clear()
          await viaRegistry.clear()
          assert.equal(await criViaAgent.pull(reference), image.config.digest)
          assert.equal(await criViaRegistry.pull(reference), image.config.digest)
          assert.deepEqual(await criViaAgent.status(reference), await criViaRegistry.status(reference))
          assert.deepEqual(await viaAgent.content(), await viaRegistry.content())
        }
        assertOnlyAgentAsked(/containerd/)
      })
    }
  })

  describe('docker, whose mirror stands for Docker Hub', () => {
    let viaAgent: Docker
    let viaRegistry: Docker

    before(async () => {
      viaAgent = await Docker.start(mirrored, { mirrors: [MIRROR] })
      viaRegistry = await Docker.start(direct, { insecure: [fleet.registry.name] })
    })

    for (const shape of DOCKER_SHAPES) {
      test(`docker: ${shape.form}, ${shape.compression}`, async () => {
        const name = `${shape.form}-${shape.compression}`
        const image = await fleet.registry.publish(`library/${name}`, specOf(shape, `library/${name}`))
        for (const reference of [`${name}:v1`, `${name}@${image.root.digest}`]) {
          await viaAgent.clear()
          await viaRegistry.clear()
          await viaAgent.pull(reference)
          await viaRegistry.pull(`${fleet.registry.name}/library/${reference}`)
          const pulled = await viaAgent.inspect(reference)
          assert.equal(pulled.Id, image.config.digest)
          assert.deepEqual(pulled, await viaRegistry.inspect(`${fleet.registry.name}/library/${reference}`))
        }
        // What came through nginx, the agent's way and the daemon's own alike, seems to come from the registry's host.
        const asked = fleet.registry.requests().filter(({ from, userAgent }) => !isFrom(from, direct) && /^docker\//.test(userAgent))
        assert.deepEqual(asked, [])
      })
    }
  })

  describe('containers/image', () => {
    let file: string
    let viaAgent: Podman
    let viaRegistry: Podman

    before(() => {
      file = registriesConf(mirrored, fleet.registry.name, `127.0.0.1:5050/${fleet.registry.name.replace(':', '_')}`)
      viaAgent = new Podman(mirrored, file)
      viaRegistry = new Podman(direct)
    })

    for (const shape of SHAPES) {
      test(`podman: ${shape.form}, ${shape.compression}`, async () => {
        const { repository, image } = await publish('podman', shape)
        for (const reference of references(fleet.registry.name, repository, image)) {
          await viaAgent.clear()
          await viaRegistry.clear()
          await viaAgent.pull(reference)
          await viaRegistry.pull(reference, { insecure: true })
          const pulled = await viaAgent.inspect(reference)
          assert.equal(`sha256:${pulled.id}`, image.config.digest)
          assert.deepEqual(pulled, await viaRegistry.inspect(reference))
        }
        assertOnlyAgentAsked(/containers|libpod/)
      })

      test(`skopeo: ${shape.form}, ${shape.compression}`, async () => {
        const { repository, image } = await publish('skopeo', shape)
        for (const [index, reference] of references(fleet.registry.name, repository, image).entries()) {
          const folder = `${repository.replace('/', '-')}-${index}`
          const all = shape.form === 'index'
          const pulled = await skopeoCopy(mirrored, reference, folder, { registriesFile: file, all })
          assert.deepEqual(pulled, await skopeoCopy(direct, reference, folder, { insecure: true, all }))
          const digests = [...pulled.values()]
          for (const { digest } of [...image.manifests, ...image.blobs]) assert.ok(digests.includes(digest))
        }
        assertOnlyAgentAsked(/skopeo|containers/)
      })
    }
  })

  test('what the agent stored is what its digests promise', () => fleet.verifyStores())
})

function specOf({ form, compression }: (typeof SHAPES)[number], seed: string): ImageSpec {
  return {
    layers: [
      { seed: `${seed}/large`, size: 3 * MIB, compression },
      { seed: `${seed}/small`, size: 20_000, compression, files: { '/bin/tool': { content: '#!/bin/sh\n', mode: 0o755 } } }
    ],
    flavour: form === 'docker' ? 'docker' : 'oci',
    attestation: form === 'index'
  }
}

function references(registry: string, repository: string, image: PublishedImage): string[] {
  return [`${registry}/${repository}:v1`, `${registry}/${repository}@${image.root.digest}`]
}

function isFrom(from: string, host: Host): boolean {
  return from.startsWith(`${host.address}:`) || from === host.address
}
