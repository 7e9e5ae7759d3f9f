import assert from 'node:assert/strict'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { type SeedDetail, type SeedSummary, seedBegun, seedDetail, seedList } from '@layerswarm/core/api/seed-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { MAX_BLOB_SIZE } from '@layerswarm/core/piece-layout.ts'
import type { SeedReport } from '@layerswarm/core/wire/directory-protocol.ts'
import { loadToken } from '../../src/http/token.ts'
import { type BareAgent, TestTracker } from '../test-tracker.ts'

const IMAGE = 'r.test/app:v1'
const DIGEST = `sha256:${'ab'.repeat(32)}` as Digest

interface Told {
  readonly error: { readonly code: string; readonly message: string; readonly remedy: string }
}

/** A tracker with agents of these names that take seeds. */
async function fleet(tracker: TestTracker, ...names: string[]): Promise<BareAgent[]> {
  const agents = await Promise.all(names.map(() => tracker.agent()))
  for (const [at, agent] of agents.entries()) {
    agent.hello(names[at], { seeds: true })
    await agent.next('welcome')
  }
  return agents
}

function done(id: string): SeedReport {
  return { t: 'seeding', id, state: 'done', size: 100, digest: DIGEST, counts: { local: 0, peer: 60, registry: 40 } }
}

async function begin(tracker: TestTracker, body: object): Promise<{ status: number; joined: boolean; seed: SeedSummary }> {
  const response = await tracker.change('POST', '/v1/seed', body)
  return { status: response.status, ...seedBegun.parse(await response.json()) }
}

async function detail(tracker: TestTracker, id: string, query = ''): Promise<SeedDetail> {
  return seedDetail.parse(await (await tracker.get(`/v1/seed/${id}${query}`)).json())
}

/** Asks until the seed is as it shall be; each answer takes a turn of the tracker. */
async function until(tracker: TestTracker, id: string, fits: (seed: SeedDetail) => boolean): Promise<SeedDetail> {
  while (true) {
    const seed = await detail(tracker, id)
    if (fits(seed)) return seed
  }
}

test('a seed is begun, joined, followed and listed', async () => {
  await using tracker = await TestTracker.start()
  const [one, two] = await fleet(tracker, 'host-1', 'host-2')
  assert.ok(one && two)
  const { status, joined, seed } = await begin(tracker, { image: 'app', platforms: ['linux/arm64'], containerd: 'k8s.io' })
  assert.deepEqual([status, joined, seed.image, seed.state, seed.states.queued], [201, false, 'docker.io/library/app:latest', 'running', 2])
  const order = await one.next('seed')
  assert.deepEqual(
    [order.id, order.image, order.platforms, order.containerd],
    [seed.id, 'docker.io/library/app:latest', ['linux/arm64'], 'k8s.io']
  )
  const again = await begin(tracker, { image: 'docker.io/library/app', hosts: ['all'], platforms: ['linux/arm64'], containerd: 'k8s.io' })
  assert.deepEqual([again.status, again.joined, again.seed.id], [200, true, seed.id])
  assert.ok((await (await tracker.get('/')).text()).includes(`v1/seed/${seed.id}`))

  one.say(done(seed.id))
  const first = await until(tracker, seed.id, ({ states }) => states.done === 1)
  const later = await detail(tracker, seed.id, `?since=${first.revision}`)
  assert.deepEqual(later.targets, [], 'only what changed since')
  two.say({ ...done(seed.id), stale: true, counts: { local: 0, peer: 100, registry: 0 } })
  const last = await until(tracker, seed.id, ({ state }) => state === 'done')
  assert.deepEqual(
    last.targets.map(({ name, id, state }) => [name, id, state]),
    [
      ['host-1', one.id, 'done'],
      ['host-2', two.id, 'done']
    ]
  )
  assert.deepEqual(
    [last.size, last.counts, last.copies, last.digests, last.stale],
    [200, { local: 0, peer: 160, registry: 40 }, 0.4, [DIGEST], 1]
  )
  assert.deepEqual(
    (await detail(tracker, seed.id, `?since=${first.revision}`)).targets.map(({ name }) => name),
    ['host-2']
  )
  const { seeds } = seedList.parse(await (await tracker.get('/v1/seed')).json())
  assert.deepEqual(
    seeds.map(({ id, state }) => [id, state]),
    [[seed.id, 'done']]
  )
})

test('no size that hosts state makes the sums such as cannot be read', async () => {
  await using tracker = await TestTracker.start()
  const agents = await fleet(tracker, 'host-1', 'host-2')
  const { seed } = await begin(tracker, { image: IMAGE })
  for (const agent of agents) agent.say({ ...done(seed.id), size: MAX_BLOB_SIZE, counts: { local: 0, peer: MAX_BLOB_SIZE, registry: 0 } })
  const { size, counts } = await until(tracker, seed.id, ({ state }) => state === 'done')
  assert.deepEqual([size, counts.peer], [2 * MAX_BLOB_SIZE, 2 * MAX_BLOB_SIZE])
})

test('a seed is cancelled', async () => {
  await using tracker = await TestTracker.start()
  const [agent] = await fleet(tracker, 'host-1')
  assert.ok(agent)
  const { seed } = await begin(tracker, { image: IMAGE })
  const cancelled = await tracker.change('DELETE', `/v1/seed/${seed.id}`)
  assert.deepEqual([cancelled.status, seedDetail.parse(await cancelled.json()).state], [200, 'cancelled'])
  assert.equal((await agent.next('unseed')).id, seed.id)
  assert.equal((await tracker.change('DELETE', `/v1/seed/${seed.id}`)).status, 200)
})

test('a restart of the tracker loses no seed: what ended is told, what runs goes on', async () => {
  await using tracker = await TestTracker.start()
  const node = await tracker.node()
  const agent = await tracker.agent({ node })
  agent.hello('host-1', { seeds: true })
  await agent.next('welcome')
  const ended = await begin(tracker, { image: IMAGE })
  agent.say(done(ended.seed.id))
  await until(tracker, ended.seed.id, ({ state }) => state === 'done')
  const running = await begin(tracker, { image: 'r.test/other:v1' })
  await tracker.stop()
  await tracker.start()
  assert.equal((await detail(tracker, ended.seed.id)).state, 'done')
  const waiting = await detail(tracker, running.seed.id)
  assert.deepEqual([waiting.state, waiting.states.waiting, waiting.startedAt], ['running', 1, running.seed.startedAt])
  const back = await tracker.agent({ node })
  back.hello('host-1', { seeds: true })
  assert.equal((await back.next('seed')).id, running.seed.id)
  back.say(done(running.seed.id))
  await until(tracker, running.seed.id, ({ state }) => state === 'done')
})

test('a seed right after a restart goes to the hosts that there were, as they come back', async () => {
  await using tracker = await TestTracker.start()
  const node = await tracker.node()
  const agent = await tracker.agent({ node })
  agent.hello('host-1', { seeds: true })
  await agent.next('welcome')
  await fleet(tracker, 'host-2')
  await tracker.stop()
  const file = join(tracker.dataDir, 'hosts.json')
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  await tracker.start()
  const { seed } = await begin(tracker, { image: IMAGE })
  assert.deepEqual([seed.state, seed.states.waiting], ['running', 2])
  const back = await tracker.agent({ node })
  back.hello('host-1', { seeds: true })
  assert.equal((await back.next('seed')).id, seed.id)
  await tracker.stop()
  await writeFile(file, '{"at":')
  await tracker.start()
  assert.equal((await tracker.change('POST', '/v1/seed', { image: 'r.test/other:v1' })).status, 400, 'nobody is known')
})

test('what lies in a broken file is told and left alone', async () => {
  await using tracker = await TestTracker.start()
  await fleet(tracker, 'host-1')
  const { seed } = await begin(tracker, { image: IMAGE })
  const folder = join(tracker.dataDir, 'seeds')
  assert.deepEqual(await readdir(folder), [`${seed.id}.json`])
  assert.equal((await stat(join(folder, `${seed.id}.json`))).mode & 0o777, 0o600)
  await tracker.stop()
  const file = join(folder, `${seed.id}.json`)
  const kept = JSON.parse(await readFile(file, 'utf8')) as { targets: object[] }
  for (const broken of [
    '{"spec"',
    JSON.stringify({ ...kept, startedAt: 1e300 }),
    JSON.stringify({ ...kept, targets: kept.targets.map((target) => ({ ...target, state: 'done' })) })
  ]) {
    await writeFile(file, broken)
    await tracker.start()
    assert.equal((await tracker.get(`/v1/seed/${seed.id}`)).status, 404, broken)
    assert.equal((await tracker.get('/v1/seed')).status, 200)
    await tracker.stop()
    assert.deepEqual(await readdir(folder), [`${seed.id}.json`])
  }
})

test('the token: made once, readable by its owner alone, and needed for each change', async () => {
  await using tracker = await TestTracker.start()
  await fleet(tracker, 'host-1')
  const token = await tracker.token()
  assert.equal((await stat(join(tracker.dataDir, 'token'))).mode & 0o777, 0o600)
  for (const headers of [
    {},
    { authorization: token },
    { authorization: 'Bearer wrong' },
    { authorization: `Basic ${token}` },
    { authorization: `Bearer ${token}x` }
  ]) {
    for (const [method, path] of [
      ['POST', '/v1/seed'],
      ['DELETE', '/v1/seed/abc'],
      ['POST', '/nothing']
    ] as const) {
      const refused = await tracker.change(method, path, method === 'POST' ? { image: IMAGE } : undefined, headers)
      assert.deepEqual([refused.status, ((await refused.json()) as Told).error.code], [401, 'TOKEN_INVALID'])
      assert.match(refused.headers.get('www-authenticate') ?? '', /^Bearer /)
    }
  }
  assert.deepEqual(seedList.parse(await (await tracker.get('/v1/seed')).json()).seeds, [])
  await tracker.stop()
  await tracker.start()
  assert.equal(await tracker.token(), token)
  await tracker.stop()
  await writeFile(join(tracker.dataDir, 'token'), 'short\n')
  await assert.rejects(loadToken(tracker.dataDir), (error) => isLayerswarmError(error, 'TOKEN_FAILED'))
})

test('a page of another site may ask for nothing, even with the token; the own page may', async () => {
  await using tracker = await TestTracker.start()
  await fleet(tracker, 'host-1')
  const { host } = new URL(tracker.running.httpUrl)
  const authorization = `Bearer ${await tracker.token()}`
  for (const origin of ['http://evil.example', 'null', `http://${host}.evil.example`, 'http://127.0.0.1:1', `file://${host}`]) {
    const refused = await tracker.change('POST', '/v1/seed', { image: IMAGE }, { authorization, origin })
    assert.deepEqual([refused.status, ((await refused.json()) as Told).error.code], [403, 'ORIGIN_NOT_ALLOWED'], origin)
  }
  assert.equal((await tracker.change('POST', '/v1/seed', { image: IMAGE }, { authorization, origin: `http://${host}` })).status, 201)
})

test('a name that a page has pointed at this machine is no name of the tracker', async () => {
  await using tracker = await TestTracker.start()
  const { hostname, port } = new URL(tracker.running.httpUrl)
  const status = await new Promise((resolve, reject) => {
    const asking = request({ host: hostname, port, path: '/v1/seed', headers: { host: `evil.example:${port}` } }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    asking.on('error', reject).end()
  })
  assert.equal(status, 403)
})

test('bad input is refused with what is wrong', async () => {
  await using tracker = await TestTracker.start()
  await fleet(tracker, 'host-1')
  for (const [body, status, code] of [
    ['{', 400, 'REQUEST_INVALID'],
    [{}, 400, 'REQUEST_INVALID'],
    [{ image: IMAGE, more: 1 }, 400, 'REQUEST_INVALID'],
    [{ image: IMAGE, hosts: [] }, 400, 'REQUEST_INVALID'],
    [{ image: IMAGE, hosts: ['0%'] }, 400, 'HOSTS_INVALID'],
    [{ image: IMAGE, hosts: ['2'] }, 400, 'HOSTS_UNKNOWN'],
    [{ image: IMAGE, hosts: ['zone:none'] }, 400, 'HOSTS_UNKNOWN'],
    [{ image: IMAGE, containerd: 'not one/' }, 400, 'REQUEST_INVALID'],
    [{ image: IMAGE, platforms: ['z80'] }, 400, 'PLATFORM_UNKNOWN'],
    [{ image: 'Not An Image' }, 400, 'REFERENCE_INVALID'],
    [{ image: 'x'.repeat(600_000) }, 413, 'REQUEST_INVALID']
  ] as const) {
    const refused = await tracker.change('POST', '/v1/seed', body)
    const { error } = (await refused.json()) as Told
    assert.deepEqual([refused.status, error.code], [status, code], JSON.stringify(body).slice(0, 80))
  }
  for (const [path, status, code] of [
    ['/v1/seed/none', 404, 'SEED_UNKNOWN'],
    ['/v1/seed/none?since=x', 400, 'REQUEST_INVALID'],
    ['/v1/seed/..%2f..%2ftoken', 404, 'SEED_UNKNOWN'],
    ['/nothing', 404, 'PATH_UNKNOWN']
  ] as const) {
    const refused = await tracker.get(path)
    assert.deepEqual([refused.status, ((await refused.json()) as Told).error.code], [status, code], path)
  }
  assert.equal((await tracker.change('DELETE', '/v1/seed/none')).status, 404)
  const plain = await tracker.change('POST', '/v1/seed', JSON.stringify({ image: IMAGE }), {
    authorization: `Bearer ${await tracker.token()}`,
    'content-type': 'text/plain'
  })
  assert.equal(plain.status, 415)
})
