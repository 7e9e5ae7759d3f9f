/**
 * What a fleet costs its tracker: memory by host and by blob held, processor time while nothing happens, while all pull
 * now and then, and by message. `node test/bench/tracker.bench.ts 10000` for as many agents (1,000 unless given).
 *
 * Every agent is a host of its own: a libp2p node with its key, its encrypted connection over loopback TCP, and its stream,
 * in processes of their own that share the machine with the tracker. So rates are by the tracker's own
 * processor time: what one core does that has nothing else to do.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MIB } from './measure.ts'
import type { Done, Order } from './tracker/agents.ts'
import { LAYERS } from './tracker/bench-agent.ts'
import type { Usage } from './tracker/serve.ts'

/** As daemons are started. */
const FLAGS = ['--external-memory-accounted-in-global-limit', '--initial-heap-size=64', '--max-semi-space-size=4']
const PROCESSES = 2
/** A connection rests when nobody has used it for so long, seconds. */
const RESTS_AFTER = 70
const QUIET_SECONDS = 15
const BUSY_SECONDS = 30
/** Every host pulls a new image as often as this, seconds. */
const PULL_EVERY = 60
/** Messages of each kind for the rates. */
const ANNOUNCES = 20_000
const REPORTS = 20_000
const PLANS = 4_000
/** Images that all agents together hold while the memory of what they hold is measured. */
const HELD_IMAGES = 20_000
/** An image that all fetch while updates are measured. */
const IN_PROGRESS = 5000

const agents = Number(process.argv[2] ?? 1000)
const dir = await mkdtemp(join(tmpdir(), 'layerswarm-tracker-bench-'))
const roles: ChildProcess[] = []

function start(role: string, flags: readonly string[], args: readonly string[] = []): ChildProcess {
  const child = fork(fileURLToPath(new URL(`tracker/${role}.ts`, import.meta.url)), [...args], { execArgv: [...flags] })
  roles.push(child)
  return child
}

async function answer<T>(child: ChildProcess): Promise<T> {
  const settled = new AbortController()
  const { signal } = settled
  try {
    const [said] = await Promise.race([
      once(child, 'message', { signal }),
      once(child, 'exit', { signal }).then(([code]) => {
        throw new Error(`a process ended with ${code}`)
      })
    ])
    return said as T
  } finally {
    settled.abort()
  }
}

const server = start('serve', ['--expose-gc', ...FLAGS], [dir])
const tracker = await answer<{ id: string; address: string }>(server)
const crowd = Array.from({ length: PROCESSES }, () => start('agents', []))

async function usage(order: 'usage' | 'collect' = 'usage'): Promise<Usage> {
  server.send(order)
  return await answer<Usage>(server)
}

/** All processes do their part of it. @returns the messages, and what they cost the tracker */
async function all(order: (part: number) => Order): Promise<Done & { cpu: number; seconds: number }> {
  const [before, began] = [await usage(), performance.now()]
  for (const [part, child] of crowd.entries()) child.send(order(part))
  const done = await Promise.all(crowd.map((child) => answer<Done>(child)))
  const sum = (what: keyof Done) => done.reduce((total, one) => total + one[what], 0)
  return {
    sent: sum('sent'),
    received: sum('received'),
    lost: sum('lost'),
    cpu: (await usage()).cpu - before.cpu,
    seconds: (performance.now() - began) / 1000
  }
}

const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`
const percent = (share: number) => `${(share * 100).toFixed(1)} %`
const rows: [string, string][] = []
const tell = (what: string, figure: string) => {
  rows.push([what, figure])
  process.stdout.write(`  ${what}: ${figure}\n`)
}

try {
  process.stdout.write(`${agents} agents, each with its own libp2p connection (TCP and Noise, over loopback)\n`)
  const empty = await usage('collect')
  const part = agents / PROCESSES
  const joined = await all(() => ({ do: 'connect', count: part, tracker }))
  await sleep(3000)
  const idle = await usage('collect')
  tell('connecting', `${((joined.cpu * 1000) / agents).toFixed(2)} ms of the tracker each`)
  tell('a host', `${kib((idle.heap - empty.heap) / agents)} of live objects, ${kib((idle.rss - empty.rss) / agents)} of resident memory`)

  const images = Math.max(2, Math.round(HELD_IMAGES / agents))
  await all(() => ({ do: 'hold', images }))
  const holding = (await usage('collect')).heap - idle.heap
  tell('a blob held', `${Math.round(holding / agents / images / LAYERS)} bytes`)
  await all(() => ({ do: 'hold', images: 1 }))

  await sleep(RESTS_AFTER * 1000)
  const quiet = await usage()
  await sleep(QUIET_SECONDS * 1000)
  tell('nothing happens for a minute', `${percent(((await usage()).cpu - quiet.cpu) / QUIET_SECONDS)} of a core`)

  const perSecond = part / PULL_EVERY
  const busy = await all(() => ({ do: 'pull', perSecond, seconds: BUSY_SECONDS, image: 1000 }))
  const each = `${Math.round((busy.sent + busy.received) / busy.seconds)} messages a second`
  tell(`each host pulls ${LAYERS} new layers a minute`, `${percent(busy.cpu / busy.seconds)} of a core, ${each}`)
  tell('resident memory then', `${Math.round((await usage()).rss / MIB)} MiB`)

  const rates: [string, number, (part: number) => Order][] = [
    ['announces of ten blobs', ANNOUNCES, () => ({ do: 'announce', agents: ANNOUNCES / 50 / PROCESSES, times: 50 })],
    ['(the plans that the updates need)', agents, () => ({ do: 'plan', agents: part, image: IN_PROGRESS })],
    ['updates of eight pieces', REPORTS, () => ({ do: 'report', agents: REPORTS / 50 / PROCESSES, times: 50, image: IN_PROGRESS })],
    ['plans of ten layers', PLANS, (at) => ({ do: 'plan', agents: PLANS / PROCESSES, image: 2000 + at })]
  ]
  for (const [what, count, order] of rates) {
    const { cpu, lost } = await all(order)
    if (lost > 0) tell('agents lost meanwhile, for the machine is too small', String(lost))
    tell(what, `${Math.round(count / cpu)} a second on one core, ${Math.round((cpu / count) * 1e6)} µs each`)
  }
  console.table(rows.map(([what, figure]) => ({ what, figure })))
} finally {
  for (const child of roles) if (child.connected) child.disconnect()
  await rm(dir, { recursive: true })
}
