import type { Scenario } from './world.ts'

const GIB = 1024 ** 3
const gib = { layers: [GIB] }

/** What containerd reads at a time. */
const reads = 3
const KIB = 1024
const small = { layers: Array.from({ length: 64 }, () => 200 * KIB), reads }
const mixed = { layers: [128 * KIB * KIB, ...small.layers], reads }
const three = { layers: [128, 96, 32].map((m) => m * KIB * KIB) }
const slowLink = { rate: 10_000_000 }

/** Every situation the policy is judged in. `n` up to 200 runs in the tests, the rest by `node test/sim/run.ts all`. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'flash crowd, 12': { ...gib, hosts: 12 },
  'flash crowd, 50': { ...gib, hosts: 50 },
  'flash crowd, 200': { ...gib, hosts: 200 },
  'flash crowd, 1000': { ...gib, hosts: 1000 },
  'flash crowd, 10000': { ...gib, hosts: 10_000 },
  'registry at 4 links, 12': { ...gib, hosts: 12, registry: 4 },
  'registry at 4 links, 50': { ...gib, hosts: 50, registry: 4 },
  'registry at 4 links, 1000': { ...gib, hosts: 1000, registry: 4 },
  'registry at a quarter, 12': { ...gib, hosts: 12, registry: 0.25 },
  'registry at a quarter, 50': { ...gib, hosts: 50, registry: 0.25 },
  'registry at a quarter, 1000': { ...gib, hosts: 1000, registry: 0.25 },
  '10 % die, 12': { ...gib, hosts: 12, deaths: 0.1 },
  '10 % die, 50': { ...gib, hosts: 50, deaths: 0.1 },
  '10 % die, 1000': { ...gib, hosts: 1000, deaths: 0.1 },
  '5 % slow, 12': { ...gib, hosts: 12, slow: 0.083 },
  '5 % slow, 50': { ...gib, hosts: 50, slow: 0.06 },
  '5 % slow, 1000': { ...gib, hosts: 1000, slow: 0.05 },
  '5 % slow and known, 12': { ...gib, hosts: 12, slow: 0.083, slowKnown: true },
  '5 % slow and known, 50': { ...gib, hosts: 50, slow: 0.06, slowKnown: true },
  '5 % slow and known, 1000': { ...gib, hosts: 1000, slow: 0.05, slowKnown: true },
  'arrivals over 10 s, 12': { ...gib, hosts: 12, arrivals: 10_000 },
  'arrivals over 10 s, 50': { ...gib, hosts: 50, arrivals: 10_000 },
  'arrivals over 10 s, 1000': { ...gib, hosts: 1000, arrivals: 10_000 },
  'newcomer at 90 %, 12': { ...gib, hosts: 13, newcomerAt: 0.9 },
  'newcomer at 90 %, 50': { ...gib, hosts: 51, newcomerAt: 0.9 },
  'no Range, 12': { ...gib, hosts: 12, ranged: false },
  'no Range, 50': { ...gib, hosts: 50, ranged: false },
  'lone host': { ...gib, hosts: 1 },
  'lone host, a quarter of the link per connection': { ...gib, hosts: 1, perConnection: 0.25 },
  '256 MiB alone, a quarter per connection, 80 Mbit/s': {
    layers: [256 * 1024 ** 2],
    hosts: 1,
    rate: 10_000_000,
    perConnection: 0.25
  },
  'two hosts': { ...gib, hosts: 2 },
  'five hosts': { ...gib, hosts: 5 },
  '100 MiB, 12': { layers: [100 * 1024 ** 2], hosts: 12 },
  'three layers of 256 MiB in all, 12 at 80 Mbit/s': { layers: [128, 96, 32].map((m) => m * 1024 ** 2), hosts: 12, rate: 10_000_000 },
  'the same, one killed every 5 s, 3 in all': {
    layers: [128, 96, 32].map((m) => m * 1024 ** 2),
    hosts: 12,
    rate: 10_000_000,
    kills: { count: 3, each: 5000 }
  },
  'the same, arriving over 10 s': { layers: [128, 96, 32].map((m) => m * 1024 ** 2), hosts: 12, rate: 10_000_000, arrivals: 10_000 },
  'the same, over 1 s, registry connections uneven by 4': { ...three, ...slowLink, hosts: 12, arrivals: 1000, uneven: 4 },
  '64 MiB at 80 Mbit/s, over 1 s, uneven by 4, 12': { layers: [64 * KIB * KIB], ...slowLink, hosts: 12, arrivals: 1000, uneven: 4 },
  'flash crowd over 1 s, uneven by 4, 50': { ...gib, hosts: 50, arrivals: 1000, uneven: 4 },
  '64 layers of 200 KiB, 12': { layers: Array.from({ length: 64 }, () => 200 * 1024), hosts: 12 },
  '64 layers of 200 KiB, 12 at 80 Mbit/s': { layers: Array.from({ length: 64 }, () => 200 * 1024), hosts: 12, rate: 10_000_000 },
  '64 small layers, read 3 at a time, over 0.1 s, 12': { ...small, hosts: 12, arrivals: 100 },
  '64 small layers, read 3 at a time, over 1 s, 12': { ...small, hosts: 12, arrivals: 1000 },
  '64 small layers, read 3 at a time, over 0.1 s, 50': { ...small, hosts: 50, arrivals: 100 },
  '64 small layers, read 3 at a time, over 1 s, 50': { ...small, hosts: 50, arrivals: 1000 },
  'the same at 80 Mbit/s, at once, 12': { ...small, ...slowLink, hosts: 12 },
  'the same at 80 Mbit/s, over 0.1 s, 12': { ...small, ...slowLink, hosts: 12, arrivals: 100 },
  'the same at 80 Mbit/s, over 1 s, 12': { ...small, ...slowLink, hosts: 12, arrivals: 1000 },
  'the same at 80 Mbit/s, over 0.1 s, 50': { ...small, ...slowLink, hosts: 50, arrivals: 100 },
  'the same at 80 Mbit/s, over 1 s, 50': { ...small, ...slowLink, hosts: 50, arrivals: 1000 },
  '128 MiB and 64 small layers at 80 Mbit/s, 12': { ...mixed, ...slowLink, hosts: 12 },
  '128 MiB and 64 small layers at 80 Mbit/s, over 1 s, 12': { ...mixed, ...slowLink, hosts: 12, arrivals: 1000 },
  '3 zones, 51': { ...gib, hosts: 51, zones: 3, zoneLink: 2 },
  '3 zones, 1000': { ...gib, hosts: 1000, zones: 3, zoneLink: 4 },
  '3 zones, 10 % die, 51': { ...gib, hosts: 51, zones: 3, zoneLink: 2, deaths: 0.1 }
}
