import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { buildImage, imageBytes, type TestImage } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { runCommand, startCommand } from '../run-command.ts'

const ANYWHERE = ['--config', '/dev/null', '--p2p-listen', '127.0.0.1:0', '--log-format', 'json']
/** What a containerd of this machine holds is nothing to a test. */
const ALONE = ['--containerd-address', 'none']
const AGENT = [...ANYWHERE, ...ALONE, '--mirror-listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0']
const STANDALONE = [...AGENT, '--tracker-listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0']

let folder: string
let registry: FakeRegistry
let image: TestImage
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layerswarm-daemons-'))
  registry = await FakeRegistry.start()
  image = await buildImage({ layers: [{ seed: 'daemons', size: 300_000, compression: 'none' }] })
  await pushImage(image, registry.url, 'team/app', 'v1')
})
after(async () => {
  await registry[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

interface Daemon extends AsyncDisposable {
  readonly child: ChildProcess
  /** The log line with this message; the lines before it are gone then. */
  logged(message: string): Promise<Record<string, unknown>>
}

function startDaemon(args: readonly string[]): Daemon {
  const child = startCommand(args)
  if (child.stderr === null) throw new Error('no pipe')
  const lines = createInterface({ input: child.stderr })[Symbol.asyncIterator]()
  return {
    child,
    logged: async (message) => {
      for (;;) {
        const { value, done } = await lines.next()
        if (done === true) throw new Error(`ended before it said: ${message}`)
        const line = JSON.parse(value)
        if (line.msg === message) return line
      }
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'close')
    }
  }
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<unknown> {
  const closed = once(child, 'exit')
  child.kill(signal)
  return closed
}

describe('standalone', () => {
  it('is an agent that its own tracker knows, and serves pulls', async () => {
    const dataDir = join(folder, 'standalone')
    await using daemon = startDaemon(['standalone', ...STANDALONE, '--data-dir', dataDir, '--insecure-registry', registry.host])
    const { admin } = await daemon.logged('agent ready')
    await daemon.logged('agent connected')

    const name = `${registry.host}/team/app:v1`
    const first = await runCommand(['pull', name, '--agent', String(admin), '--json'])
    assert.equal(first.code, 0, first.stderr)
    const { digest, bytes, counts } = JSON.parse(first.stdout)
    assert.deepEqual([digest, bytes], [image.root.digest, imageBytes(image)])
    assert.deepEqual(counts, { local: 0, peer: 0, registry: bytes })

    const unlisted = await runCommand(['pull', 'registry.example/app', '--agent', String(admin)])
    assert.match(unlisted.stderr, /^error: this mirror is not configured to reach that registry: registry\.example\nfix: add --registry/)
    assert.equal(unlisted.code, 1)

    const busy = await runCommand(['agent', ...AGENT, '--data-dir', dataDir])
    assert.match(busy.stderr, /^error: the data directory is in use by another process: .*\nfix: /m)
    assert.equal(busy.code, 1)

    assert.deepEqual(await stop(daemon.child, 'SIGTERM'), [0, null])
  })
})

it('runs an agent and a tracker that share a data directory', async () => {
  const dataDir = join(folder, 'both')
  await using tracker = startDaemon(['tracker', ...ANYWHERE, '--http-listen', '127.0.0.1:0', '--data-dir', dataDir])
  const { p2p } = await tracker.logged('tracker ready')
  await using agent = startDaemon(['agent', ...AGENT, '--data-dir', dataDir, '--tracker', String((p2p as string[])[0])])
  await tracker.logged('agent connected')
  assert.deepEqual(await stop(agent.child, 'SIGINT'), [0, null])
  await tracker.logged('agent gone')
  assert.deepEqual(await stop(tracker.child, 'SIGINT'), [0, null])
})

it('has the node flags of a daemon and the pid that was started', async () => {
  await using daemon = startDaemon(['agent', ...AGENT, '--data-dir', join(folder, 'flags')])
  const { pid } = await daemon.logged('agent ready')
  assert.equal(pid, daemon.child.pid)
  const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0')
  assert.deepEqual(command.slice(1, 4), [
    '--external-memory-accounted-in-global-limit',
    '--initial-heap-size=64',
    '--max-semi-space-size=4'
  ])
  assert.deepEqual(await stop(daemon.child, 'SIGTERM'), [0, null])
})

it('says what uses an address', async () => {
  const [host, port] = registry.host.split(':')
  const taken = ['--mirror-listen', `${host}:${port}`]
  const { code, stderr } = await runCommand(['agent', ...AGENT, ...taken, '--data-dir', join(folder, 'taken')])
  assert.match(stderr, new RegExp(`^error: cannot listen on the address: ${registry.host}.*\\nfix: stop the program`, 'm'))
  assert.equal(code, 1)
})

it('pulls alone where no agent runs', async () => {
  const nobody = await FakeRegistry.start()
  const agent = nobody.url
  await nobody[Symbol.asyncDispose]()
  const args = ['pull', `${registry.host}/team/app:v1`, '--agent', agent, '--insecure-registry', registry.host]
  const alone = [...args, '--data-dir', join(folder, 'alone'), '--config', '/dev/null', '--json']
  const first = await runCommand(alone)
  assert.equal(first.stderr, `no agent at ${agent}: pulling in this process, into ${join(folder, 'alone')}\n`)
  assert.equal(first.code, 0)
  const again = JSON.parse((await runCommand(alone)).stdout)
  assert.deepEqual(again.counts, { local: imageBytes(image), peer: 0, registry: 0 })
})
