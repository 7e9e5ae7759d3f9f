// needs: docker-registry skopeo
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { type RunningAgent, startAgent } from '@layerswarm/agent/agent.ts'
import { agentOptions } from '@layerswarm/agent/config.ts'
import { loadConfig } from '@layerswarm/core/config/load.ts'
import { type Digest, digestOf, hexOf } from '@layerswarm/core/digest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { DockerRegistry } from '@layerswarm/testkit/docker-registry.ts'
import { buildImage, type TestImage } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { runCommand } from '../run-command.ts'

const run = promisify(execFile)
/** A port that nothing listens on. */
const NOBODY = 'http://127.0.0.1:59'

let folder: string
let registry: DockerRegistry
let image: TestImage
let agent: RunningAgent
const stack = new AsyncDisposableStack()

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layerswarm-images-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  registry = stack.use(await DockerRegistry.start())
  image = await buildImage({
    layers: [
      { seed: 'a', size: 2_500_000 },
      { seed: 'b', size: 70_000, compression: 'zstd' }
    ],
    attestation: true
  })
  await pushImage(image, registry.url, 'team/app', 'v1')
  const flags = {
    dataDir: join(folder, 'agent'),
    mirrorListen: '127.0.0.1:0',
    adminListen: '127.0.0.1:0',
    p2pListen: '127.0.0.1:0',
    insecureRegistry: [registry.host],
    containerdAddress: 'none'
  }
  const { config } = await loadConfig(agentOptions, { flags, config: '/dev/null' })
  agent = stack.use(await startAgent(config, { log: createLogger({ level: 'silent' }) }))
})
after(() => stack.disposeAsync())

/** Runs a command on this host's agent, or on a data directory without one. */
async function layerswarm(args: readonly string[], alone?: string) {
  const own = ['--data-dir', join(folder, alone ?? ''), '--config', '/dev/null', '--containerd-address', 'none']
  const local = ['--agent', NOBODY, ...own, '--insecure-registry', registry.host]
  return await runCommand([...args, ...(alone === undefined ? ['--agent', agent.adminUrl] : local)])
}

async function json(args: readonly string[], alone?: string) {
  const { code, stdout, stderr } = await layerswarm([...args, '--json'], alone)
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout)
}

/** Digests of everything that skopeo copies out of a reference. */
async function skopeo(from: string, ...flags: string[]): Promise<Set<Digest>> {
  const into = await mkdtemp(join(folder, 'skopeo-'))
  await run('skopeo', ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false', ...flags, from, `dir:${into}`])
  const names = await readdir(into)
  return new Set(await Promise.all(names.map(async (name) => digestOf(await readFile(join(into, name))))))
}

async function rot(dataDir: string, digest: Digest): Promise<void> {
  const file = await open(join(folder, dataDir, 'blobs', 'sha256', hexOf(digest)), 'r+')
  await file.write('rotten', 100)
  await file.close()
}

for (const alone of [undefined, 'alone']) {
  describe(alone === undefined ? 'through an agent' : 'where no agent runs', () => {
    const suffix = alone ?? 'agent'

    it('pulls into files that skopeo reads', async () => {
      const name = `${registry.host}/team/app:v1`
      const layout = join(folder, `${suffix}-layout`)
      const whole = await json(['pull', name, '--platform', 'all', '--output', `oci:${layout}`], alone)
      assert.equal(whole.written, image.root.digest)
      const copied = await skopeo(`oci:${layout}:v1`, '--all', '--preserve-digests')
      for (const digest of [image.root.digest, image.manifest.digest, image.config.digest, ...image.layers.map((layer) => layer.digest)]) {
        assert.ok(copied.has(digest), digest)
      }
      const archive = join(folder, `${suffix}.tar`)
      const one = await json(['pull', name, '--output', `oci-archive:${archive}`], alone)
      assert.deepEqual([one.written, one.counts.registry], [image.manifest.digest, 0])
      assert.ok((await skopeo(`oci-archive:${archive}`)).has(image.manifest.digest))
      const { stdout } = await layerswarm(['pull', name, '--output', `docker-archive:${archive}`], alone)
      assert.match(stdout, /\nwritten to .*\.tar: sha256:[0-9a-f]{64}\n$/)
      assert.ok((await skopeo(`docker-archive:${archive}`)).has(image.config.digest))
    })

    it('pushes from files what docker-registry lacks, and a second tag for nothing', async () => {
      const archive = join(folder, `${suffix}.tar`)
      const first = `${registry.host}/pushed/${suffix}:1`
      const sent = await json(['push', first, '--from', `docker-archive:${archive}`], alone)
      assert.ok(sent.sent > 2_500_000)
      assert.ok((await skopeo(`docker://${first}`)).has(image.config.digest))
      const again = await json(['push', `${registry.host}/pushed/${suffix}:2`, '--from', `store:${first}`], alone)
      assert.deepEqual([again.sent, again.mounted, again.held, again.digest], [0, 0, sent.bytes, sent.digest])
      const elsewhere = await json(
        ['push', `${registry.host}/mounted/${suffix}:1`, '--from', `oci:${join(folder, `${suffix}-layout`)}`],
        alone
      )
      assert.deepEqual([elsewhere.sent, elsewhere.mounted, elsewhere.digest], [0, elsewhere.bytes, image.root.digest])
      assert.ok((await skopeo(`docker://${registry.host}/mounted/${suffix}:1`, '--all')).has(image.root.digest))
      const { stdout, code } = await layerswarm(['push', first], alone)
      assert.match(stdout, /done {6}.* already at the registry\n/)
      assert.match(stdout, / 0 B sent,\n/)
      assert.equal(code, 0)
    })

    it('lists images, and blobs with who uses them', async () => {
      const { images, totals } = await json(['ls'], alone)
      const names = images.map((one: { image: string }) => one.image)
      for (const name of [`${registry.host}/team/app:v1`, `${registry.host}/pushed/${suffix}:2`, `${registry.host}/mounted/${suffix}:1`]) {
        assert.ok(names.includes(name), name)
      }
      assert.ok(totals.referenced > totals.bytes)
      const table = (await layerswarm(['ls'], alone)).stdout.split('\n')
      assert.match(table[0] ?? '', /^REF +TYPE +DIGEST +STATUS +SIZE$/)
      assert.equal(table.length, names.length + 2)
      assert.deepEqual((await layerswarm(['ls', '-q'], alone)).stdout.trim().split('\n'), names)
      const blobs = await json(['ls', '--blobs'], alone)
      const layer = blobs.find(({ digest }: { digest: string }) => digest === image.layers[0]?.digest)
      assert.deepEqual(layer.images, [`${registry.host}/mounted/${suffix}:1`, `${registry.host}/team/app:v1`])
      assert.match((await layerswarm(['gc'], alone)).stdout, /^0 blobs evicted, 0 B; .* stay\n$/)
    })

    it('finds a rotten byte, fails, mends it, and is sound again', async () => {
      const [layer] = image.layers
      assert.ok(layer)
      const sound = await layerswarm(['check', '--verify'], alone)
      assert.equal(sound.code, 0, sound.stderr)
      await rot(alone ?? 'agent', layer.digest)
      const unseen = await layerswarm(['check', `${registry.host}/team/app:v1`], alone)
      assert.equal(unseen.code, 0)
      const found = await layerswarm(['check', '--verify'], alone)
      assert.match(found.stderr, new RegExp(`^corrupt: ${hexOf(layer.digest).slice(0, 12)}, 2\\.50 MB, of .*team/app:v1; withdrawn$`, 'm'))
      assert.match(found.stdout, /team\/app:v1 .* incomplete \(2\/3, 1 corrupt\) /)
      assert.equal(found.code, 1)
      const mended = await layerswarm(['check', `${registry.host}/team/app:v1`, '--repair'], alone)
      assert.match(mended.stdout, /complete \(3\/3\)/)
      assert.equal(mended.code, 0, mended.stderr)
      const summary = await json(['check', '--verify'], alone)
      assert.deepEqual([summary.sound, summary.corrupt], [true, []])
      const unknown = await layerswarm(['check', 'no/such:image'], alone)
      assert.match(unknown.stderr, /^error: this host knows no such image: no\/such:image\nfix: /m)
      assert.equal(unknown.code, 1)
    })
  })
}

it('wrong usage exits with 2', async () => {
  for (const args of [['push', 'app', '--from', 'tar:x'], ['pull', 'app', '--output', 'x'], ['check', 'UPPER::'], ['push']]) {
    const { code, stderr } = await runCommand(args)
    assert.equal(code, 2, stderr)
    assert.match(stderr, /^fix: /m)
  }
})

it('status of a real agent', async () => {
  const status = await json(['status'])
  assert.deepEqual([status.id, status.tracker, status.transfers], [agent.id, { connected: false, configured: 0 }, []])
  assert.ok(status.store.complete.bytes > 2_500_000 && status.store.bound > status.store.complete.bytes)
})
