import assert from 'node:assert/strict'
import { it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import type { SeedReport } from '@layerswarm/core/wire/directory-protocol.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryDirectory } from '@layerswarm/testkit/memory-directory.ts'
import type { PullOptions, PullSummary } from '../../src/ports.ts'
import { Seeder } from '../../src/seeds/seeder.ts'

const ROOT = `sha256:${'cd'.repeat(32)}` as Digest
const LAYER = `sha256:${'ab'.repeat(32)}` as Digest
const COUNTS = { local: 0, peer: 60, registry: 40 }

interface Pull {
  readonly image: string
  readonly options: PullOptions
  end(more?: Partial<PullSummary>): void
  fail(error: Error): void
}

/** A seeder whose pulls end when the test says so, and one sooner when its signal fires. */
class TestSeeder implements AsyncDisposable {
  readonly directory = new MemoryDirectory()
  readonly clock = new ManualClock()
  readonly pulls: Pull[] = []
  readonly seeder: Seeder

  constructor() {
    const pull = async (image: string, options: PullOptions = {}): Promise<PullSummary> => {
      const { promise, resolve, reject } = Promise.withResolvers<PullSummary>()
      const end = (more: Partial<PullSummary> = {}) =>
        resolve({ image, digest: ROOT, manifests: 1, blobs: 1, skipped: 0, bytes: 100, counts: COUNTS, stale: false, seconds: 1, ...more })
      options.signal?.addEventListener('abort', () => reject(options.signal?.reason))
      this.pulls.push({ image, options, end, fail: reject })
      return await promise
    }
    const log = createLogger({ level: 'silent' })
    this.seeder = new Seeder({ directory: this.directory, images: { pull }, clock: this.clock, log })
    this.seeder.start()
  }

  async order(id: string, more: { readonly platforms?: string[]; readonly containerd?: string } = {}): Promise<void> {
    this.directory.say({ type: 'seed', order: { t: 'seed', id, image: `r.test/${id}`, every: 1000, ...more } })
    await settle()
  }

  /** What was told since the last call. */
  told(): SeedReport[] {
    return this.directory.notes.splice(0).filter((note) => note.t === 'seeding')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.seeder[Symbol.asyncDispose]()
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await turn()
}

function states(reports: readonly SeedReport[]): string[] {
  return reports.map(({ id, state }) => `${id} ${state}`)
}

it('fetches what it is told to and tells how it goes, not more often than asked', async () => {
  await using host = new TestSeeder()
  await host.order('a', { platforms: ['linux/arm64'], containerd: 'k8s.io' })
  assert.deepEqual(states(host.told()), ['a queued', 'a fetching'])
  const [pull] = host.pulls
  assert.deepEqual(
    [pull?.image, pull?.options.platforms, pull?.options.containerd],
    ['r.test/a', [{ os: 'linux', architecture: 'arm64', variant: 'v8' }], 'k8s.io']
  )
  pull?.options.onImage?.({ digest: ROOT, bytes: 100 })
  for (const peer of [10, 20, 30]) {
    pull?.options.onProgress?.({ digest: LAYER, size: 90, counts: { local: 0, peer, registry: 5 }, done: false })
    await host.clock.advance(400)
  }
  assert.deepEqual(host.told(), [
    { t: 'seeding', id: 'a', state: 'fetching', size: 100, digest: ROOT, counts: { local: 0, peer: 30, registry: 5 } }
  ])
  pull?.end({ containerd: { namespace: 'k8s.io', blobs: 1, bytes: 90 } })
  await settle()
  assert.deepEqual(host.told(), [{ t: 'seeding', id: 'a', state: 'done', size: 100, digest: ROOT, counts: COUNTS, given: 90 }])
})

it('does two at a time, the others in the order of asking', async () => {
  await using host = new TestSeeder()
  for (const id of ['a', 'b', 'c', 'd']) await host.order(id)
  assert.deepEqual(
    host.pulls.map(({ image }) => image),
    ['r.test/a', 'r.test/b']
  )
  host.directory.say({ type: 'unseed', id: 'c' })
  host.pulls[0]?.end()
  await settle()
  assert.deepEqual(
    host.pulls.map(({ image }) => image),
    ['r.test/a', 'r.test/b', 'r.test/d']
  )
})

it('tells the present state when the tracker says the same again, and does nothing twice', async () => {
  await using host = new TestSeeder()
  await host.order('a')
  host.told()
  await host.order('a')
  assert.deepEqual(states(host.told()), ['a fetching'])
  host.pulls[0]?.end({ stale: true })
  await settle()
  assert.deepEqual(
    host.told().map(({ state, stale }) => [state, stale]),
    [['done', true]]
  )
  await host.order('a')
  assert.deepEqual([states(host.told()), host.pulls.length], [['a done'], 1])
})

it('tells why it failed, and tries again when it is asked again', async () => {
  await using host = new TestSeeder()
  await host.order('a')
  host.told()
  host.pulls[0]?.fail(new LayerswarmError('REGISTRY_DENIED', { detail: 'x'.repeat(2000) }))
  await settle()
  const [failed] = host.told()
  assert.deepEqual([failed?.state, failed?.error?.code, failed?.error?.message.length], ['failed', 'REGISTRY_DENIED', 500])
  await host.order('a')
  assert.deepEqual(states(host.told()), ['a queued', 'a fetching'])
  assert.equal(host.pulls.length, 2)
})

it('gives a cancelled seed up without a word', async () => {
  await using host = new TestSeeder()
  await host.order('a')
  host.told()
  host.directory.say({ type: 'unseed', id: 'a' })
  await settle()
  assert.equal(host.pulls[0]?.options.signal?.aborted, true)
  await host.clock.advance(5000)
  assert.deepEqual(host.told(), [])
})

it('refuses more than it can keep', async () => {
  await using host = new TestSeeder()
  for (let i = 0; i < 1025; i++) host.directory.say({ type: 'seed', order: { t: 'seed', id: `s${i}`, image: 'r.test/a', every: 1000 } })
  await settle()
  const last = host.told().at(-1)
  assert.deepEqual([last?.id, last?.state, last?.error?.code], ['s1024', 'failed', 'SEEDS_FULL'])
})

it('says nothing of what it gives up when the agent stops', async () => {
  const host = new TestSeeder()
  await host.order('a')
  host.told()
  await host[Symbol.asyncDispose]()
  assert.equal(host.pulls[0]?.options.signal?.aborted, true)
  assert.deepEqual(host.told(), [])
})
