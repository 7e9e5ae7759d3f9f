import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { it } from 'node:test'
import type { SeedDetail, SeedTarget } from '@layerswarm/core/api/seed-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { finished, runCommand, startCommand } from '../run-command.ts'

const TOKEN = 'a'.repeat(43)
const DIGEST = `sha256:${'ab'.repeat(32)}` as Digest
const ID = '3f2a81c09d'
const NOTHING = { local: 0, peer: 0, registry: 0 }
const STATES = { waiting: 0, queued: 0, fetching: 0, done: 0, here: 0, failed: 0, cancelled: 0 }

const HOST: SeedTarget = { number: 0, name: 'host-1', id: 'id-1', zone: '', state: 'queued', size: 0, counts: NOTHING }
const DONE: SeedTarget = { ...HOST, state: 'done', size: 100, counts: { local: 0, peer: 75, registry: 25 }, digest: DIGEST }
const LOST: SeedTarget = {
  ...HOST,
  number: 1,
  name: 'host-2',
  state: 'failed',
  error: { code: 'HOST_ABSENT', message: 'the host is not connected to the tracker: gone for 20 s', remedy: '' }
}

function seed(state: SeedDetail['state'], ...targets: SeedTarget[]): SeedDetail {
  const states = { ...STATES }
  for (const target of targets) states[target.state]++
  return {
    id: ID,
    image: 'docker.io/library/app:latest',
    hosts: ['all'],
    state,
    startedAt: '2026-11-24T10:00:00.000Z',
    seconds: 2.04,
    states,
    size: 100,
    counts: { local: 0, peer: 75, registry: 25 },
    digests: [DIGEST],
    stale: 0,
    copies: 0.25,
    revision: 7,
    targets
  }
}

interface Answer {
  readonly status?: number
  readonly body: unknown
}

/** A tracker's end of the API: it answers each route from its list, the last one again and again; undefined hangs up. */
async function fakeTracker(routes: Readonly<Record<string, readonly (Answer | undefined)[]>>) {
  const requests: { route: string; authorization: string | undefined; body: unknown }[] = []
  const asked = new Map<string, number>()
  const server = createServer(async (request, response) => {
    const route = `${request.method} ${request.url}`
    const body = await text(request)
    requests.push({ route, authorization: request.headers.authorization, body: body === '' ? undefined : JSON.parse(body) })
    const answers = routes[route] ?? [
      { status: 404, body: { error: { code: 'SEED_UNKNOWN', message: 'there is no such seed', remedy: '' } } }
    ]
    const turn = asked.get(route) ?? 0
    asked.set(route, turn + 1)
    const answer = answers[Math.min(turn, answers.length - 1)]
    if (answer === undefined) response.destroy()
    else response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const dir = await mkdtemp(join(tmpdir(), 'layerswarm-cli-seed-'))
  const tokenFile = join(dir, 'token')
  await writeFile(tokenFile, `${TOKEN}\n`)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    dir,
    tokenFile,
    requests,
    at: ['--tracker-url', url],
    with: ['--tracker-url', url, '--token-file', tokenFile],
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
      await rm(dir, { recursive: true, force: true })
    }
  }
}

function begun(image = 'docker.io/library/app:latest', joined = false): Answer {
  const { targets: _, revision: __, ...summary } = seed('running', HOST, { ...LOST, state: 'waiting' })
  return { status: joined ? 200 : 201, body: { joined, seed: { ...summary, image } } }
}

it('begins a seed and follows it; a host that failed makes it fail, by its name and with the reason', async () => {
  await using tracker = await fakeTracker({
    'POST /v1/seed': [begun()],
    [`GET /v1/seed/${ID}`]: [{ body: seed('running', HOST, { ...LOST, state: 'waiting' }) }],
    [`GET /v1/seed/${ID}?since=7`]: [{ body: { ...seed('failed', DONE, LOST), targets: [DONE, LOST] } }]
  })
  const args = ['app', '--hosts', 'host-1,host-2', '--hosts', 'zone:eu', '--platform', 'linux/arm64', '--to', 'containerd:k8s.io']
  const { code, stdout, stderr } = await runCommand(['seed', ...args, ...tracker.with])
  assert.equal(
    stdout,
    [
      `seed ${ID}: docker.io/library/app:latest on 2 hosts`,
      'host-2  waiting      it is not connected',
      'host-1  done         75 B from peers, 25 B from the registry',
      'host-2  failed       the host is not connected to the tracker: gone for 20 s',
      'docker.io/library/app:latest',
      DIGEST,
      '2 hosts in 2.0 s: 1 done, 1 failed',
      '100 B: 75 B from peers, 25 B from the registry (0.25 copies),',
      '0 B already here',
      ''
    ].join('\n')
  )
  assert.match(stderr, /^error: the image did not reach every host: host-2: the host is not connected to the tracker: gone for 20 s\nfix: /)
  assert.equal(code, 1)
  assert.deepEqual(tracker.requests[0], {
    route: 'POST /v1/seed',
    authorization: `Bearer ${TOKEN}`,
    body: {
      image: 'docker.io/library/app:latest',
      hosts: ['host-1', 'host-2', 'zone:eu'],
      platforms: ['linux/arm64'],
      containerd: 'k8s.io'
    }
  })
})

it('is done when all hosts are; --json prints the seed alone; the token may come from the environment', async () => {
  await using tracker = await fakeTracker({ 'POST /v1/seed': [begun()], [`GET /v1/seed/${ID}`]: [{ body: seed('done', DONE) }] })
  const { code, stdout, stderr } = await runCommand(['seed', 'app', '--json', '--to', 'containerd', ...tracker.at], {
    env: { LAYERSWARM_TOKEN: TOKEN }
  })
  assert.deepEqual([code, stderr, JSON.parse(stdout)], [0, '', seed('done', DONE)])
  const [request] = tracker.requests
  assert.deepEqual(
    [request?.authorization, request?.body],
    [`Bearer ${TOKEN}`, { image: 'docker.io/library/app:latest', containerd: 'default' }]
  )
})

it('finds the token of a tracker on this host, wherever its data lies', async () => {
  await using tracker = await fakeTracker({ 'POST /v1/seed': [begun()] })
  await mkdir(join(tracker.dir, 'tracker'))
  await writeFile(join(tracker.dir, 'tracker/token'), `${TOKEN}\n`)
  for (const env of [
    { LAYERSWARM_DATA_DIR: tracker.dir },
    { LAYERSWARM_DATA_DIR: tracker.dir, LAYERSWARM_TRACKER_LISTEN: '127.0.0.1:0' }
  ]) {
    const { code, stderr } = await runCommand(['seed', 'app', '--detach', ...tracker.at], { env })
    assert.deepEqual([code, stderr], [0, ''])
  }
  assert.deepEqual(
    tracker.requests.map(({ authorization }) => authorization),
    [`Bearer ${TOKEN}`, `Bearer ${TOKEN}`]
  )
})

it('waits for a tracker that is restarted', async () => {
  await using tracker = await fakeTracker({ 'POST /v1/seed': [begun()], [`GET /v1/seed/${ID}`]: [undefined, { body: seed('done', DONE) }] })
  const { code, stderr } = await runCommand(['seed', 'app', ...tracker.with])
  assert.deepEqual([code, stderr], [0, 'the tracker does not answer; it is asked again for a minute\n'])
})

it('begins one for each image of a list, and may leave them alone', async () => {
  await using tracker = await fakeTracker({ 'POST /v1/seed': [begun('r.test/a:1'), begun('r.test/b:2', true)] })
  const file = join(tracker.dir, 'images.txt')
  await writeFile(file, '# images\nr.test/a:1   # the first\n\nr.test/b:2\nr.test/a:1\n')
  const { code, stdout } = await runCommand(['seed', '--file', file, '--detach', ...tracker.with])
  assert.equal(
    stdout,
    `seed ${ID}: r.test/a:1 on 2 hosts\nseed ${ID}: r.test/b:2 on 2 hosts, which runs already\nsee how it goes with: layerswarm seed status\n`
  )
  assert.equal(code, 0)
  assert.deepEqual(
    tracker.requests.map(({ body }) => body),
    [{ image: 'r.test/a:1' }, { image: 'r.test/b:2' }]
  )
})

it('says that the seed goes on when it is interrupted', async () => {
  await using tracker = await fakeTracker({
    'POST /v1/seed': [begun()],
    [`GET /v1/seed/${ID}`]: [{ body: seed('running', HOST, { ...LOST, state: 'waiting' }) }],
    [`GET /v1/seed/${ID}?since=7`]: [{ body: seed('running') }]
  })
  const child = startCommand(['seed', 'app', ...tracker.with])
  child.stdout?.on('data', (text) => String(text).includes('waiting') && child.kill('SIGINT'))
  const { code, stderr } = await finished(child)
  assert.equal(stderr, `the seed goes on: layerswarm seed status ${ID}, or: layerswarm seed cancel ${ID}\n`)
  assert.equal(code, 130)
})

it('lists seeds and shows one; options after a subcommand are its own', async () => {
  await using tracker = await fakeTracker({
    'GET /v1/seed': [{ body: { seeds: [seed('failed', DONE, LOST)] } }],
    [`GET /v1/seed/${ID}`]: [{ body: seed('failed', DONE, LOST) }]
  })
  const list = await runCommand(['seed', 'status', ...tracker.at])
  assert.deepEqual([list.code, list.stderr], [0, ''])
  assert.match(
    list.stdout,
    /^ID +IMAGE +STATE +HOSTS +FAILED +COPIES +BEGUN\n3f2a81c09d {2}docker\.io\/library\/app:latest {2}failed {2}1\/2 +1 +0\.25 /
  )
  const json = await runCommand(['seed', 'status', '--json', ...tracker.at])
  assert.equal(JSON.parse(json.stdout)[0].id, ID)
  const one = await runCommand(['seed', 'status', ID, ...tracker.at])
  assert.match(one.stdout, /^host-1 {2}done .*\nhost-2 {2}failed .*\nfailed\ndocker\.io\/library\/app:latest\n/)
  assert.equal(one.code, 0)
  const waited = await runCommand(['seed', 'status', ID, '--wait', ...tracker.at])
  assert.deepEqual(
    [waited.code, waited.stderr.split('\n')[0]],
    [1, 'error: the image did not reach every host: host-2: the host is not connected to the tracker: gone for 20 s']
  )
  const unknown = await runCommand(['seed', 'status', 'none', ...tracker.at])
  assert.deepEqual([unknown.code, unknown.stderr.split('\n')[0]], [1, 'error: there is no such seed'])
})

it('cancels', async () => {
  await using tracker = await fakeTracker({
    [`DELETE /v1/seed/${ID}`]: [{ body: seed('cancelled', DONE, { ...HOST, number: 1, state: 'cancelled' }) }]
  })
  const { code, stdout } = await runCommand(['seed', 'cancel', ID, ...tracker.with])
  assert.match(stdout, /^cancelled\n[\s\S]*2 hosts in 2\.0 s: 1 done, 1 cancelled\n/)
  assert.deepEqual([code, tracker.requests[0]?.authorization], [0, `Bearer ${TOKEN}`])
})

it('refuses wrong usage with 2 and says what is wrong', async () => {
  for (const [args, expected] of [
    [['seed'], /^error: name either an IMAGE or a list/],
    [['seed', 'app', '--file', 'x'], /^error: name either an IMAGE or a list/],
    [['seed', '--file', '/nowhere/images.txt'], /^error: the list cannot be read: ENOENT/],
    [['seed', 'Not An Image'], /^error: not a valid image reference: Not An Image\n/],
    [['seed', 'app', '--hosts', '0%'], /^error: not a valid choice of hosts: 0%\n/],
    [['seed', 'app', '--hosts', 'all,host-1'], /^error: not a valid choice of hosts: all, and yet/],
    [['seed', 'app', '--platform', 'z80'], /no such platform/],
    [['seed', 'app', '--to', 'docker'], /Give containerd or containerd:NAMESPACE/],
    [['seed', 'app', '--to', 'containerd:'], /Give containerd or containerd:NAMESPACE/],
    [['seed', 'cancel'], /^error: missing required argument 'ID'/],
    [['seed', 'status', '--tracker-url', 'nowhere'], /Not a URL/]
  ] as const) {
    const { code, stderr } = await runCommand(args)
    assert.match(stderr, expected)
    assert.match(stderr, /^fix: /m)
    assert.equal(code, 2, args.join(' '))
  }
})

it('says what is wrong with the token and with the tracker', async () => {
  const answer = { status: 401, body: { error: { code: 'TOKEN_INVALID', message: "the tracker's token is missing or wrong", remedy: '' } } }
  await using tracker = await fakeTracker({ 'POST /v1/seed': [answer, { status: 404, body: 'no' }] })
  for (const [more, expected] of [
    [['--token-file', '/nowhere/token'], /^error: the tracker's token is missing or wrong: ENOENT.*\nfix: give the file/],
    [['--token-file', tracker.tokenFile], /^error: the tracker's token is missing or wrong\nfix: give the file/],
    [['--token-file', tracker.tokenFile], /answers 404, as no tracker of this version does\nfix: see that the tracker runs/],
    [
      ['--token-file', tracker.tokenFile, '--tracker-url', 'http://127.0.0.1:1'],
      /^error: the tracker's HTTP address does not answer: http:\/\/127\.0\.0\.1:1\/: connect ECONNREFUSED/
    ]
  ] as const) {
    const { code, stderr } = await runCommand(['seed', 'app', ...tracker.at, ...more])
    assert.match(stderr, expected)
    assert.equal(code, 1)
  }
})
