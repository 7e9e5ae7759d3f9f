// needs: root ip tc nsenter unshare sysctl mount docker-registry containerd ctr
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { SeedDetail } from '@layerswarm/core/api/seed-api.ts'
import { Containerd } from '../harness/containerd.ts'
import { verifyBlobs } from '../harness/content.ts'
import { Fleet } from '../harness/fleet.ts'
import { type Agent, layerswarm } from '../harness/layerswarm.ts'
import type { PublishedImage } from '../harness/published-image.ts'

const MIB = 1024 * 1024
const HOSTS = 8
/** The host whose agent dies. */
const DEAD = 5

describe('an image is brought to a fleet ahead of use', { timeout: 180_000 }, () => {
  const stack = new AsyncDisposableStack()
  let fleet: Fleet
  let containerd: Containerd
  let agents: Agent[]
  let image: PublishedImage
  let reference: string
  let other: string
  let token: string[]

  before(async () => {
    fleet = stack.use(await Fleet.create({ hosts: HOSTS, rate: '80mbit' }))
    image = await fleet.registry.publish('team/app', {
      index: true,
      layers: [
        { seed: 'seeded', size: 12 * MIB },
        { seed: 'seeded too', size: 8 * MIB }
      ]
    })
    await fleet.registry.publish('team/other', { layers: [{ seed: 'other', size: 4 * MIB }] })
    reference = `${fleet.registry.name}/team/app:v1`
    other = `${fleet.registry.name}/team/other:v1`
    containerd = await Containerd.start(fleet.host(1))
    agents = await Promise.all(fleet.hosts.map((host, at) => fleet.startAgent(host, at === 0 ? { containerd: containerd.socket } : {})))
    token = ['--token-file', join(fleet.tracker.host.dir, 'tracker-data/tracker/token')]
  })
  after(() => stack.disposeAsync())

  function seed(...args: string[]) {
    return layerswarm(fleet.tracker.host, ['seed', ...args])
  }

  function nameOf(number: number): string {
    return fleet.host(number).name
  }

  test('one of eight hosts is dead: the others have the image, the dead one is named, and the exit code is 1', async () => {
    await agents[DEAD - 1]?.process.crash()
    const { code, stdout, stderr } = await seed(reference, '--json', ...token)
    assert.equal(code, 1, stderr)
    const { state, targets, copies, digests }: SeedDetail = JSON.parse(stdout)
    assert.deepEqual([state, digests], ['failed', [image.root.digest]])
    assert.deepEqual(
      targets.map(({ name, state }) => [name, state]),
      fleet.hosts.map(({ name }, at) => [name, at === DEAD - 1 ? 'failed' : 'done'])
    )
    assert.match(
      stderr,
      new RegExp(`^error: the image did not reach every host: ${nameOf(DEAD)}: the host is not connected to the tracker: gone for`)
    )
    assert.ok(copies < 1.3, `${copies} copies left the registry`)
    for (const [at, agent] of agents.entries()) {
      if (at === DEAD - 1) continue
      const stored = await verifyBlobs(agent.blobs)
      for (const { digest } of [image.config, ...image.layers]) assert.ok(stored.includes(digest), `${agent.host.name} lacks ${digest}`)
    }
  })

  test('the same again, once it runs: only that host fetches, and nothing comes from the registry', async () => {
    await agents[DEAD - 1]?.restart()
    const before = fleet.registry.requests().filter(({ path }) => path.includes('/blobs/')).length
    const { code, stdout, stderr } = await seed(reference, ...token)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /8 hosts in .* s: 1 done, 7 already here\n/)
    assert.match(stdout, new RegExp(`^${nameOf(DEAD)} +done .* from peers`, 'm'))
    assert.equal(fleet.registry.requests().filter(({ path }) => path.includes('/blobs/')).length, before)
  })

  test('containerd of a host gets the image too', async () => {
    const { code, stdout, stderr } = await seed(reference, '--hosts', nameOf(1), '--to', 'containerd:seeded', ...token)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /1 host in .* s: 1 done\n/)
    assert.match(await containerd.ctr(['--namespace', 'seeded', 'images', 'check']), new RegExp(`^${reference} .* complete `, 'm'))
    const again = await seed(reference, '--hosts', nameOf(1), '--to', 'containerd:seeded', ...token)
    assert.match(again.stdout, /1 host in .* s: 1 already here\n/)
  })

  test('it goes on without a terminal, and is cancelled by its id', async () => {
    fleet.registry.process.signal('SIGSTOP')
    const begun = await seed(other, '--hosts', '3', '--detach', '--json', ...token)
    assert.equal(begun.code, 0, begun.stderr)
    const { id } = JSON.parse(begun.stdout)
    assert.match((await seed('status')).stdout, new RegExp(`^${id} +\\S+ +running +0/3 `, 'm'))
    const cancelled = await seed('cancel', id, ...token)
    assert.match(cancelled.stdout, /^cancelled\n[\s\S]*3 hosts in .* s: 3 cancelled\n/)
    fleet.registry.process.signal('SIGCONT')
  })

  test('a tracker that is killed and started again goes on with it', async () => {
    fleet.registry.process.signal('SIGSTOP')
    const begun = await seed(other, '--hosts', '3', '--detach', '--json', ...token)
    const { id } = JSON.parse(begun.stdout)
    await fleet.tracker.process.crash()
    await fleet.tracker.restart()
    fleet.registry.process.signal('SIGCONT')
    const { code, stdout, stderr } = await seed('status', id, '--wait')
    assert.equal(code, 0, stderr)
    assert.match(stdout, /3 hosts in .* s: 3 done\n/)
  })

  test('a seed right after the tracker was killed and started again misses no host', async () => {
    await fleet.tracker.process.crash()
    await fleet.tracker.restart()
    const { code, stdout, stderr } = await seed(reference, ...token)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /8 hosts in .* s: 8 already here\n/)
  })
})
