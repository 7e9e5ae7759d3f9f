import assert from 'node:assert/strict'
import { join } from 'node:path'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { buildImage, imageBytes } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { command } from './command.ts'
import { RunningProcess } from './process.ts'

const LOOPBACK = '127.0.0.1:0'
/** Any port that is free. */
const LISTEN = ['--mirror-listen', '--admin-listen', '--p2p-listen', '--http-listen', '--tracker-listen'].flatMap((flag) => [
  flag,
  LOOPBACK
])
/** Nothing of this machine may have a say. */
const ALONE = ['--config', '/dev/null', '--containerd-address', 'none']

/** A `layerswarm` that was installed. */
export interface Installed {
  /** The program, and what its arguments follow. */
  readonly command: readonly [program: string, ...args: string[]]
  /** What it has of an environment. */
  readonly env: Readonly<Record<string, string>>
  /** A folder that it may make for its data. */
  readonly dataDir: string
  /** A folder for its log. */
  readonly dir: string
}

/**
 * It does its work: an agent with a tracker starts, pulls an image of layers that its second thread has to hash, checks
 * it, and ends at once when told to.
 */
export async function assertWorks({ command: [program, ...first], env, dataDir, dir }: Installed): Promise<void> {
  const run = (...args: string[]): Promise<string> => command(program, [...first, ...args], { env })

  await using registry = await FakeRegistry.start()
  const image = await buildImage({ layers: [{ seed: 'installed', size: 9_000_000, compression: 'none' }] })
  await pushImage(image, registry.url, 'team/app', 'v1')
  const name = `${registry.host}/team/app:v1`

  const options = [...ALONE, ...LISTEN, '--data-dir', dataDir, '--insecure-registry', registry.host, '--log-format', 'json']
  await using agent = new RunningProcess(program, [...first, 'standalone', ...options], { log: join(dir, 'agent.log'), env })
  await agent.ready(() => admin(agent) !== undefined)
  const local = ['--agent', String(admin(agent)), '--json']
  assert.equal(JSON.parse(await run('pull', name, ...local)).bytes, imageBytes(image))
  const { sound, verified } = JSON.parse(await run('check', '--verify', ...local))
  assert.equal(sound, true)
  assert.ok(verified.bytes >= imageBytes(image), `${verified.bytes} bytes hashed`)
  assert.deepEqual(await agent.stop(), { code: 0, signal: null })
}

/** Where the agent said its local API is. */
function admin(agent: RunningProcess): unknown {
  const lines = agent.log().split('\n').filter(Boolean)
  return lines.map((line) => JSON.parse(line)).find(({ msg }) => msg === 'agent ready')?.admin
}
