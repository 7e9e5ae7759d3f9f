import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { ImageSpec } from '@layerswarm/testkit/oci-image.ts'
import type { Clients } from '../../harness/clients.ts'
import { Containerd } from '../../harness/containerd.ts'
import { CriClient } from '../../harness/cri.ts'
import { Docker } from '../../harness/docker.ts'
import { DOCKER_HUB, startDockerHub } from '../../harness/docker-hub.ts'
import { Fleet } from '../../harness/fleet.ts'
import { MIRROR } from '../../harness/layerswarm.ts'
import type { Host } from '../../harness/network.ts'
import { Podman, registriesConf } from '../../harness/podman.ts'
import type { PublishedImage } from '../../harness/published-image.ts'
import type { Registry } from '../../harness/registry.ts'
import { skopeoCopy } from '../../harness/skopeo.ts'

/** How docker calls itself, with either store. */
const DOCKER = /^docker\//
const MIB = 1024 * 1024

interface Shape {
  readonly form: 'manifest' | 'index' | 'docker'
  readonly compression: 'gzip' | 'zstd'
}

/** What every client is given: each form of manifest, each compression that it can read. */
const SHAPES: readonly Shape[] = [
  { form: 'manifest', compression: 'gzip' },
  { form: 'manifest', compression: 'zstd' },
  { form: 'index', compression: 'gzip' },
  { form: 'index', compression: 'zstd' },
  { form: 'docker', compression: 'gzip' }
]

/** Every kind of client against the registry, through an agent and without: both have to come to the same. */
export function describePulls(clients: Clients): void {
  describe(`${clients.name} clients pull through the agent what they pull from the registry itself`, { timeout: 300_000 }, () => {
    const stack = new AsyncDisposableStack()
    let made: Sides
    const sides = () => made

    before(async () => {
      made = stack.use(await Sides.create())
    })
    after(() => stack.disposeAsync())

    test('the programs are of this generation', async (t) => {
      for (const [program, major] of Object.entries(clients.majors)) {
        const printed = await made.mirrored.run(program, ['--version'], { binds: clients.binds })
        const version = /\d+\.\d+\.\d+/.exec(printed)?.[0]
        t.diagnostic(`${program} ${version}`)
        assert.ok(Number.parseInt(version ?? '', 10) >= major, printed)
      }
    })
    describeContainerd(clients, sides)
    for (const store of clients.dockerStores) describeDocker(clients, store, sides)
    describeContainersImage(clients, sides)
    test('what the agent stored is what its digests promise', () => made.fleet.verifyStores())
  })
}

/** Two hosts with the same clients. */
class Sides implements AsyncDisposable {
  readonly fleet: Fleet
  readonly registry: Registry
  /** Here the clients have the agent as their mirror. */
  readonly mirrored: Host
  /** Here they go to the registry. */
  readonly direct: Host

  private constructor(fleet: Fleet) {
    this.fleet = fleet
    this.registry = fleet.registry
    this.mirrored = fleet.host(1)
    this.direct = fleet.host(2)
  }

  static async create(): Promise<Sides> {
    await using stack = new AsyncDisposableStack()
    const fleet = stack.use(await Fleet.create({ hosts: 2, registryNames: [DOCKER_HUB] }))
    const certificate = await startDockerHub(fleet.registry.host)
    await fleet.startAgent(fleet.host(1), { env: { NODE_EXTRA_CA_CERTS: certificate }, args: ['--registry', 'docker.io'] })
    stack.move()
    return new Sides(fleet)
  }

  /** Publishes an image that no other test uses, so that the first pull of it is cold in the agent. */
  async publish(client: string, shape: Shape): Promise<{ repository: string; image: PublishedImage }> {
    const repository = `${client}/${shape.form}-${shape.compression}`
    return { repository, image: await this.registry.publish(repository, specOf(shape, repository)) }
  }

  /** No client of the mirrored host may have asked the registry itself: all of it came from the agent. */
  assertOnlyAgentAsked(client: RegExp): void {
    const asked = this.registry.requests().filter(({ from }) => isFrom(from, this.mirrored))
    assert.deepEqual(
      asked.filter(({ userAgent }) => client.test(userAgent)),
      []
    )
    assert.ok(asked.length > 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fleet[Symbol.asyncDispose]()
  }
}

function describeContainerd(clients: Clients, sides: () => Sides): void {
  describe('containerd', () => {
    let viaAgent: Containerd
    let viaRegistry: Containerd

    before(async () => {
      viaAgent = await Containerd.start(sides().mirrored, { clients, mirror: MIRROR })
      viaRegistry = await Containerd.start(sides().direct, { clients, insecure: [sides().registry.name] })
    })

    for (const shape of SHAPES) {
      for (const flags of clients.ctrWays) {
        test(`${['ctr', ...flags].join(' ')}: ${shape.form}, ${shape.compression}`, async () => {
          const { repository, image } = await sides().publish(['ctr', ...flags].join(''), shape)
          for (const reference of references(sides().registry.name, repository, image)) {
            await viaAgent.clear()
            await viaRegistry.clear()
            await viaAgent.pull(reference, ...flags)
            await viaRegistry.pull(reference, ...flags)
            const content = await viaAgent.content()
            assert.deepEqual(content, await viaRegistry.content())
            for (const { digest } of [image.root, image.manifest, image.config, ...image.layers]) assert.ok(content.blobs.includes(digest))
          }
          sides().assertOnlyAgentAsked(/containerd/)
        })
      }

      test(`CRI: ${shape.form}, ${shape.compression}`, async () => {
        using criViaAgent = new CriClient(viaAgent.socket)
        using criViaRegistry = new CriClient(viaRegistry.socket)
        const { repository, image } = await sides().publish('cri', shape)
        for (const reference of references(sides().registry.name, repository, image)) {
          await viaAgent.clear()
          await viaRegistry.clear()
          assert.equal(await criViaAgent.pull(reference), image.config.digest)
          assert.equal(await criViaRegistry.pull(reference), image.config.digest)
          assert.deepEqual(await criViaAgent.status(reference), await criViaRegistry.status(reference))
          assert.deepEqual(await viaAgent.content(), await viaRegistry.content())
        }
        sides().assertOnlyAgentAsked(/containerd/)
      })
    }
  })
}

function describeDocker(clients: Clients, store: Clients['dockerStores'][number], sides: () => Sides): void {
  describe(`docker, ${store} store, whose mirror stands for Docker Hub`, () => {
    let viaAgent: Docker
    let viaRegistry: Docker

    before(async () => {
      viaAgent = await Docker.start(sides().mirrored, { clients, store, mirrors: [MIRROR] })
      viaRegistry = await Docker.start(sides().direct, { clients, store, insecure: [sides().registry.name] })
    })

    for (const shape of SHAPES.filter(({ compression }) => compression === 'gzip' || clients.dockerUnpacksZstd)) {
      test(`docker: ${shape.form}, ${shape.compression}`, async () => {
        const name = `${store}-${shape.form}-${shape.compression}`
        const image = await sides().registry.publish(`library/${name}`, specOf(shape, `library/${name}`))
        for (const reference of [`${name}:v1`, `${name}@${image.root.digest}`]) {
          await viaAgent.clear()
          await viaRegistry.clear()
          await viaAgent.pull(reference)
          await viaRegistry.pull(`${sides().registry.name}/library/${reference}`)
          const pulled = await viaAgent.inspect(reference)
          assert.equal(pulled.Id, store === 'classic' ? image.config.digest : image.root.digest)
          assert.deepEqual(pulled, await viaRegistry.inspect(`${sides().registry.name}/library/${reference}`))
        }
        // What came through nginx, the agent's way and the daemon's own alike, seems to come from the registry's host.
        const asked = sides().registry.requests()
        assert.deepEqual(
          asked.filter(({ from, userAgent }) => !isFrom(from, sides().direct) && DOCKER.test(userAgent)),
          []
        )
        assert.ok(asked.some(({ from, userAgent }) => isFrom(from, sides().direct) && DOCKER.test(userAgent)))
      })
    }
  })
}

function describeContainersImage(clients: Clients, sides: () => Sides): void {
  describe('containers/image', () => {
    let file: string
    let viaAgent: Podman
    let viaRegistry: Podman

    before(() => {
      const { name } = sides().registry
      file = registriesConf(sides().mirrored, name, `127.0.0.1:5050/${name.replace(':', '_')}`)
      viaAgent = new Podman(sides().mirrored, { clients, registriesFile: file })
      viaRegistry = new Podman(sides().direct, { clients })
    })

    for (const shape of SHAPES) {
      test(`podman: ${shape.form}, ${shape.compression}`, async () => {
        const { repository, image } = await sides().publish('podman', shape)
        for (const reference of references(sides().registry.name, repository, image)) {
          await viaAgent.clear()
          await viaRegistry.clear()
          await viaAgent.pull(reference)
          await viaRegistry.pull(reference, { insecure: true })
          const pulled = await viaAgent.inspect(reference)
          assert.equal(`sha256:${pulled.id}`, image.config.digest)
          assert.deepEqual(pulled, await viaRegistry.inspect(reference))
        }
        sides().assertOnlyAgentAsked(/containers|libpod/)
      })

      test(`skopeo: ${shape.form}, ${shape.compression}`, async () => {
        const { repository, image } = await sides().publish('skopeo', shape)
        for (const [index, reference] of references(sides().registry.name, repository, image).entries()) {
          const folder = `${repository.replace('/', '-')}-${index}`
          const all = shape.form === 'index'
          const rewritten = all && shape.compression === 'zstd' && clients.skopeoMarksZstd
          const options = { clients, all, preserveDigests: !rewritten }
          const pulled = await skopeoCopy(sides().mirrored, reference, folder, { ...options, registriesFile: file })
          assert.deepEqual(pulled, await skopeoCopy(sides().direct, reference, folder, { ...options, insecure: true }))
          const digests = [...pulled.values()]
          const kept = image.manifests.filter(({ digest }) => !rewritten || digest !== image.root.digest)
          for (const { digest } of [...kept, ...image.blobs]) assert.ok(digests.includes(digest))
        }
        sides().assertOnlyAgentAsked(/skopeo|containers/)
      })
    }
  })
}

function specOf({ form, compression }: Shape, seed: string): ImageSpec {
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
