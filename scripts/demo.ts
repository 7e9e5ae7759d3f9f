/**
 * The main job, visible: a registry, a tracker and four agents as real processes on loopback. All agents pull an image
 * at once, then a second one that shares layers; then the registry is stopped and a fifth, fresh agent pulls.
 */
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildImage, type ImageSpec, imageBytes, type TestImage } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { formatBytes, shortHex } from '../packages/cli/src/format.ts'
import { type DemoAgent, type DemoRegistry, Fleet } from './demo/fleet.ts'
import { pullThroughMirror } from './demo/mirror-client.ts'
import { Progress, type Row, say, table, total } from './demo/screen.ts'

const MiB = 1024 * 1024
const HOSTS = ['host-1', 'host-2', 'host-3', 'host-4'] as const
const REPOSITORY = 'demo/app'

/** Not compressed: the content is noise, and trying would only take time. */
function layer(seed: string, size: number): ImageSpec['layers'][number] {
  return { seed, size, compression: 'none' }
}

/** The second image is the first with another top layer, as the next release of a program is. */
const BASE = [layer('demo base', 56 * MiB), layer('demo runtime', 40 * MiB)]
const IMAGES: Readonly<Record<'v1' | 'v2', ImageSpec>> = {
  v1: { layers: [...BASE, layer('demo app 1', 24 * MiB)] },
  v2: { layers: [...BASE, layer('demo app 2', 24 * MiB)] }
}

interface Job {
  readonly registry: DemoRegistry
  /** A tag or a digest, and how the table calls it. */
  readonly reference: string
  readonly label: string
  readonly bytes: number
  readonly signal: AbortSignal
}

/** All agents pull at the same moment. */
async function pullEverywhere(agents: readonly DemoAgent[], job: Job): Promise<Row[]> {
  using progress = new Progress(job.bytes)
  return await Promise.all(agents.map((agent) => pullOn(agent, job, progress)))
}

async function pullOn(agent: DemoAgent, job: Job, progress: Progress): Promise<Row> {
  const line = progress.host(agent.name)
  const before = await agent.received()
  const begun = performance.now()
  let served = 0
  await pullThroughMirror({
    mirrorUrl: agent.mirrorUrl,
    registry: job.registry.host,
    repository: REPOSITORY,
    reference: job.reference,
    onBytes: (count) => {
      served += count
      line.add(count)
    },
    signal: job.signal
  })
  const seconds = (performance.now() - begun) / 1000
  line.done(seconds)
  const after = await agent.received()
  const peer = after.peer - before.peer
  const registry = after.registry - before.registry
  // What the client got and did not come in meanwhile was there before.
  const received = { peer, registry, local: Math.max(0, served - peer - registry) }
  return { host: agent.name, image: job.label, seconds, received }
}

/** Bytes of both images, what they share counted once. */
function uniqueBytes(images: readonly TestImage[]): number {
  const contents = images.flatMap(({ blobs, manifests }) => [...blobs.values(), ...manifests.map(({ descriptor }) => descriptor)])
  const sizes = new Map(contents.map(({ digest, size }) => [digest as string, size]))
  return [...sizes.values()].reduce((sum, size) => sum + size, 0)
}

async function run(dir: string, signal: AbortSignal): Promise<void> {
  say(`Making two images in ${dir} ...`)
  const v1 = await buildImage(IMAGES.v1, dir)
  const v2 = await buildImage(IMAGES.v2, dir)

  await using fleet = new Fleet(dir, signal)
  try {
    await show(fleet, { v1, v2 }, signal)
  } catch (error) {
    if (!signal.aborted) process.stderr.write(`\n${fleet.complaints()}\n`)
    throw error
  }
}

async function show(fleet: Fleet, { v1, v2 }: { v1: TestImage; v2: TestImage }, signal: AbortSignal): Promise<void> {
  const registry = await fleet.startRegistry()
  await fleet.startTracker()
  const agents = await Promise.all(HOSTS.map((name) => fleet.startAgent(name, registry)))
  say(`Started ${registry.program}, a tracker and ${agents.length} agents on loopback.`)
  await pushImage(v1, `http://${registry.host}`, REPOSITORY, 'v1')
  await pushImage(v2, `http://${registry.host}`, REPOSITORY, 'v2')

  const rows: Row[] = []
  say(`\n${REPOSITORY}:v1 (${v1.layers.length} layers, ${formatBytes(imageBytes(v1))}), all hosts at once:`)
  rows.push(...(await pullEverywhere(agents, { registry, reference: 'v1', label: 'app:v1', bytes: imageBytes(v1), signal })))
  say(`\n${REPOSITORY}:v2 shares ${BASE.length} of ${v2.layers.length} layers with it, all hosts at once:`)
  rows.push(...(await pullEverywhere(agents, { registry, reference: 'v2', label: 'app:v2', bytes: imageBytes(v2), signal })))

  await registry.process.stop()
  const digest = v1.root.digest
  say(`\nThe registry is stopped. A fifth, fresh host pulls ${REPOSITORY}@sha256:${shortHex(digest)}...:`)
  const fresh = await fleet.startAgent('host-5', registry)
  rows.push(...(await pullEverywhere([fresh], { registry, reference: digest, label: 'app@sha256:', bytes: imageBytes(v1), signal })))

  const unique = uniqueBytes([v1, v2])
  const fromRegistry = total(rows).registry
  say(`\n${table(rows)}\n`)
  say(`  registry copies ${(fromRegistry / unique).toFixed(2)}`)
  say(`  (${formatBytes(fromRegistry)} left the registry for ${formatBytes(unique)} of unique content on ${HOSTS.length + 1} hosts)`)
}

function farewell(): string {
  return `
Point your own containerd at an agent, on each host:

  npx layerswarm standalone            # or a tracker and agents: see README.md
  sudo npx layerswarm mirror install --runtime containerd
  npx layerswarm doctor                # says what is in the way

docker, podman and crio are runtimes too. Then pull as always: crictl pull nginx,
docker pull nginx; ctr needs --hosts-dir /etc/containerd/certs.d. README.md says
more, and how it is taken out again.`
}

const dir = await mkdtemp(join(tmpdir(), 'layerswarm-demo-'))
// Whatever ends this process, the processes it started end with it (see RunningProcess), and nothing stays on disk.
process.on('exit', () => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }))
const stop = new AbortController()
const interrupted = new Error('interrupted')
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(130)
    stop.abort(interrupted)
  })
}
process.stdout.on('error', () => process.exit(0))

try {
  await run(dir, stop.signal)
  say(farewell())
} catch (error) {
  if (error === interrupted || stop.signal.aborted) {
    say('\nStopped.')
    process.exitCode = 130
  } else throw error
}
