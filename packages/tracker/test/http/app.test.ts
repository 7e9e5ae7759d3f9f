import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { MAX_CONNECTIONS } from '../../src/http/app.ts'
import type { FleetView } from '../../src/state/fleet-view.ts'
import { blobOfRuns, piecesOf, RUN_BYTES, SCOPE } from '../planner/test-fleet.ts'
import { TestTracker } from '../test-tracker.ts'

const blob = blobOfRuns(64)

test('health, readiness and the page say what this is and how to connect', async () => {
  await using tracker = await TestTracker.start()
  assert.equal((await tracker.get('/healthz')).status, 200)
  const ready = await tracker.get('/readyz')
  assert.deepEqual([ready.status, ((await ready.json()) as { id: string }).id], [200, tracker.running.id])
  const page = await tracker.get('/')
  assert.match(page.headers.get('content-type') ?? '', /text\/html/)
  assert.ok((await page.text()).includes(`--tracker ${tracker.running.p2p[0]}`))
  assert.equal((await tracker.get('/nothing')).status, 404)
})

test('/v1/fleet and /metrics tell of hosts, blobs, leases and registry copies', async () => {
  await using tracker = await TestTracker.start()
  const agent = await tracker.agent()
  agent.hello('host-1')
  agent.say({ t: 'hold', full: true, add: [{ ...blobOfRuns(1, 'held'), mediaType: 'text/plain' }], drop: [] })
  agent.say({ t: 'plan', id: 1, scope: SCOPE, blobs: [blob], origin: true, want: true })
  await agent.next('plan')
  agent.say({ t: 'report', blob: blob.digest, got: piecesOf(0), spread: [], bytes: 1.5 * RUN_BYTES })
  await agent.next('leases')
  const fleet = (await (await tracker.get('/v1/fleet')).json()) as FleetView
  const [host] = fleet.hosts
  assert.deepEqual(
    [host?.name, host?.id, host?.state, host?.blobs, host?.bytes, host?.fetching],
    ['host-1', agent.id, 'fetching', 1, RUN_BYTES, 1]
  )
  assert.deepEqual(host?.addresses, ['/ip4/192.0.2.9/tcp/5052', '/ip4/127.0.0.1/tcp/5052'])
  assert.deepEqual(
    fleet.blobs.find(({ digest }) => digest === blob.digest),
    { digest: blob.digest, size: blob.size, complete: 0, fetching: 1, map: 'none' }
  )
  assert.deepEqual(
    fleet.leases.filter(({ state }) => state === 'fetched').map(({ run, holder }) => [run, holder]),
    [[0, agent.id]]
  )
  assert.equal(fleet.registry.copies, 1.5)
  const metrics = await (await tracker.get('/metrics')).text()
  for (const line of [
    'layerswarm_hosts{state="fetching"} 1',
    'layerswarm_leases{state="fetched"} 1',
    'layerswarm_fleet_egress_ratio 1.5',
    'layerswarm_plan_seconds_count 1'
  ]) {
    assert.ok(metrics.includes(line), line)
  }
})

test('/v1/fleet comes in pages, on which everything is once', async () => {
  await using tracker = await TestTracker.start()
  const agents = await Promise.all(Array.from({ length: 5 }, () => tracker.agent()))
  for (const [at, agent] of agents.entries()) {
    agent.hello(`host-${at}`)
    agent.say({ t: 'hold', full: true, add: [blobOfRuns(1, `held ${at}`)], drop: [] })
    agent.say({ t: 'plan', id: 1, scope: SCOPE, blobs: [blob], origin: true, want: true })
    await agent.next('plan')
  }
  const page = async (cursor?: string) => {
    const reply = await tracker.get(`/v1/fleet?limit=2${cursor === undefined ? '' : `&cursor=${cursor}`}`)
    return (await reply.json()) as FleetView
  }
  const whole = (await (await tracker.get('/v1/fleet')).json()) as FleetView
  assert.equal(whole.next, undefined)
  assert.deepEqual(whole.totals, { hosts: 5, blobs: 6, leases: whole.leases.length })
  assert.ok(whole.leases.length > 6)

  const first = await page()
  assert.deepEqual([first.hosts.length, first.blobs.length, first.leases.length], [2, 2, 2])
  assert.deepEqual(first.totals, whole.totals)
  const pages = [first]
  for (let { next } = first; next !== undefined; next = pages.at(-1)?.next) pages.push(await page(next))
  assert.deepEqual(
    pages.flatMap(({ hosts }) => hosts),
    whole.hosts
  )
  assert.deepEqual(
    pages.flatMap(({ blobs }) => blobs),
    whole.blobs
  )
  assert.deepEqual(
    pages.flatMap(({ leases }) => leases.map(({ run }) => run)),
    whole.leases.map(({ run }) => run)
  )

  for (const query of ['limit=0', 'limit=1001', 'cursor=nonsense', 'offset=2']) {
    assert.equal((await tracker.get(`/v1/fleet?${query}`)).status, 400, query)
  }
})

test('a client that has not said all of its request does not keep the tracker from stopping', { timeout: 20_000 }, async () => {
  await using tracker = await TestTracker.start()
  const { hostname, port } = new URL(tracker.running.httpUrl)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const request = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n'
  socket.write(`${request}\r\n${request}`)
  await once(socket, 'data')
  // It is cut off.
  socket.on('error', () => undefined)
  await tracker.stop()
  socket.destroy()
})

test('a client that opens connections without end gets so many and no more', { timeout: 20_000 }, async () => {
  await using tracker = await TestTracker.start()
  const { hostname, port } = new URL(tracker.running.httpUrl)
  const sockets: Socket[] = []
  try {
    while (sockets.length <= MAX_CONNECTIONS) {
      const socket = connect(Number(port), hostname).on('error', () => undefined)
      sockets.push(socket.resume())
      await once(socket, 'connect')
    }
    const [first, last] = [sockets[0], sockets.at(-1)]
    if (last?.closed === false) await once(last, 'close')
    assert.equal(first?.closed, false)
  } finally {
    for (const socket of sockets) socket.destroy()
  }
})
