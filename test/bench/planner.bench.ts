/**
 * What a plan costs the tracker's planner: a flash crowd of N hosts asks for an image of several layers, then for a blob alone.
 * Run: node test/bench/planner.bench.ts
 */
import { createHash } from 'node:crypto'
import type { Digest } from '@layerswarm/core/digest.ts'
import { createPlanner, step } from '@layerswarm/tracker/planner/step.ts'

const LAYER = 256 * 1024 * 1024

interface Figures {
  readonly hosts: number
  readonly layers: number
  /** Processor time: others may use the machine too. */
  readonly meanMicros: number
  readonly p99Micros: number
  readonly tickMicros: number
}

function digestNamed(name: string): Digest {
  return `sha256:${createHash('sha256').update(name).digest('hex')}` as Digest
}

function measure(hosts: number, layers: number): Figures {
  let seed = 1
  const random = () => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed / 2_147_483_647
  }
  const state = createPlanner({ random }, 0)
  const blobs = Array.from({ length: layers }, (_, i) => ({ digest: digestNamed(`${i}`), size: LAYER }))
  for (let i = 0; i < hosts; i++) {
    step(state, { type: 'joined', host: `host-${i}`, seenAt: '/ip4/192.0.2.1' }, 0)
    const hello = { t: 'hello', name: `host-${i}`, version: '', port: 1, addrs: ['/ip4/192.0.2.1/tcp/2'] } as const
    step(state, { type: 'message', host: `host-${i}`, message: { ...hello, addrs: [...hello.addrs] } }, 0)
  }
  const times: number[] = []
  const before = process.cpuUsage()
  for (let i = 0; i < hosts; i++) {
    const from = performance.now()
    const message = { t: 'plan', id: 1, scope: 'docker.io/library/app', blobs, origin: true, want: true, rate: 125e6 } as const
    step(state, { type: 'message', host: `host-${i}`, message: { ...message, blobs: [...blobs] } }, i / 100)
    times.push((performance.now() - from) * 1000)
  }
  const { user, system } = process.cpuUsage(before)
  const from = performance.now()
  const ticks = 50
  for (let i = 1; i <= ticks; i++) step(state, { type: 'tick' }, hosts / 100 + i)
  const tickMicros = ((performance.now() - from) * 1000) / ticks
  times.sort((a, b) => a - b)
  return { hosts, layers, meanMicros: (user + system) / hosts, p99Micros: times[Math.floor(times.length * 0.99)] ?? 0, tickMicros }
}

measure(1000, 64)
for (const hosts of [1000, 10_000]) {
  for (const layers of [1, 8, 64]) {
    const { meanMicros, p99Micros, tickMicros } = measure(hosts, layers)
    const figures = `${meanMicros.toFixed(1)} µs a plan (p99 ${p99Micros.toFixed(0)}), ${tickMicros.toFixed(0)} µs a tick`
    process.stdout.write(`${hosts} hosts, ${layers} layers: ${figures}\n`)
  }
}
