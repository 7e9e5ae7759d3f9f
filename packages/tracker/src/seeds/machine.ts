/**
 * Seeds: facts in, orders out. No clock, socket, file or chance of its own. A host that is away for a bounded time
 * fails, with the reason; one that comes back while the seed runs is told again what to do.
 */
import { toldError } from '@layerswarm/core/api/local-api.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { chooseHosts } from './choose.ts'
import {
  ABSENT_MS,
  isOpen,
  type KnownHost,
  MAX_HOSTS,
  type Outbox,
  type Report,
  type Seed,
  type SeedCommand,
  type SeedEvent,
  type SeedSpec,
  type SeedsState,
  type Target
} from './model.ts'

/** A host that left so long ago is part of the fleet no longer: it was taken out of service, not restarted. */
export const RECENT_MS = 600_000
/** Reports a second that a seed may cost the tracker. */
const REPORTS_PER_SECOND = 1000
/** Least time between two reports of one host, ms. */
const REPORT_MS = 500
/** Seeds that are remembered after their end. */
const MAX_SEEDS = 1000
/** Hosts of all seeds together: some hundred bytes each. */
const MAX_TARGETS = 200_000

const NOTHING = { local: 0, peer: 0, registry: 0 }

/**
 * Begins a seed. The same one that runs already is joined.
 * @param id of a seed that does not exist yet
 * @throws {LayerswarmError} HOSTS_INVALID, HOSTS_UNKNOWN, SEEDS_FULL
 */
export function begin(
  state: SeedsState,
  { id, spec }: { id: string; spec: SeedSpec },
  now: number
): { seed: Seed; joined: boolean; commands: readonly SeedCommand[] } {
  const same = JSON.stringify(spec)
  for (const seed of state.seeds.values()) {
    if (seed.state === 'running' && JSON.stringify(seed.spec) === same) return { seed, joined: true, commands: [] }
  }
  forgetGone(state, now)
  const chosen = chooseHosts(spec, state.hosts.values(), now)
  const out: Outbox = []
  makeRoom(state, chosen.length, out)
  const revision = ++state.revision
  const targets = chosen.map(
    ({ id: host, name, zone }): Target => ({
      name,
      id: host,
      zone,
      state: 'waiting',
      size: 0,
      counts: NOTHING,
      digest: undefined,
      stale: false,
      error: undefined,
      awaitedSince: now,
      changed: revision
    })
  )
  const seed = makeSeed({ id, spec, state: 'running', startedAt: now, endedAt: undefined, targets })
  state.seeds.set(id, seed)
  for (const target of targets) {
    const host = state.hosts.get(target.id ?? '')
    if (host !== undefined && host.leftAt === undefined) order(state, seed, target, host, out)
  }
  settle(seed, now, out)
  return { seed, joined: false, commands: out }
}

/** Takes up what was kept of an earlier life: hosts that have come to no end are waited for. */
export function restore(state: SeedsState, kept: readonly Omit<Seed, 'open' | 'byHost'>[], now: number): void {
  for (const one of [...kept].sort((a, b) => a.startedAt - b.startedAt)) {
    const seed = makeSeed(one)
    for (const target of seed.targets) target.changed = state.revision
    for (const target of seed.open) {
      target.state = 'waiting'
      target.awaitedSince = now
    }
    state.seeds.set(seed.id, seed)
  }
}

/** Takes up the hosts of an earlier life: those that were connected to its end, without `leftAt`, are expected back. */
export function expectHosts(state: SeedsState, kept: readonly KnownHost[], now: number): void {
  for (const host of kept) state.hosts.set(host.id, { ...host, leftAt: host.leftAt ?? now, expected: host.leftAt === undefined })
  forgetGone(state, now)
}

/** Applies one event to `state` and says what is to be done. */
export function step(state: SeedsState, event: SeedEvent, now: number): readonly SeedCommand[] {
  const out: Outbox = []
  switch (event.type) {
    case 'joined':
      join(state, event.host, now, out)
      break
    case 'left':
      leave(state, event.host, now, out)
      break
    case 'report': {
      const seed = state.seeds.get(event.report.id)
      const target = seed?.byHost.get(event.host)
      if (seed !== undefined && target !== undefined) takeReport(state, seed, target, event.report, now, out)
      break
    }
    case 'cancel': {
      const seed = state.seeds.get(event.id)
      if (seed?.state === 'running') cancel(state, seed, now, out)
      break
    }
    case 'tick':
      for (const seed of state.seeds.values()) if (seed.state === 'running') giveUpAbsent(state, seed, now, out)
      forgetGone(state, now)
  }
  return out
}

function makeSeed(seed: Omit<Seed, 'open' | 'byHost'>): Seed {
  const { targets } = seed
  const byHost = new Map(targets.flatMap((target) => (target.id === undefined ? [] : [[target.id, target] as const])))
  return { ...seed, open: new Set(seed.state === 'running' ? targets.filter(isOpen) : []), byHost }
}

function join(
  state: SeedsState,
  { id, name, zone, takesSeeds }: Extract<SeedEvent, { type: 'joined' }>['host'],
  now: number,
  out: Outbox
): void {
  // A host that was set up anew has another id; its old self is not expected back.
  for (const other of state.hosts.values()) {
    if (other.name === name && other.id !== id && other.leftAt !== undefined) state.hosts.delete(other.id)
  }
  const host: KnownHost = { id, name, zone, takesSeeds, leftAt: undefined, expected: false }
  state.hosts.set(id, host)
  for (const seed of state.seeds.values()) {
    if (seed.state !== 'running') continue
    const target = seed.byHost.get(id) ?? seed.targets.find((one) => one.name === name && one.awaitedSince !== undefined)
    if (target === undefined || !(isOpen(target) || isAbsent(target))) continue
    if (target.id !== undefined) seed.byHost.delete(target.id)
    target.id = id
    target.zone = zone
    seed.byHost.set(id, target)
    seed.open.add(target)
    order(state, seed, target, host, out)
    if (!isOpen(target)) settle(seed, now, out)
  }
}

/** It failed because it was away. */
function isAbsent({ error }: Target): boolean {
  return error?.code === 'HOST_ABSENT'
}

function order(state: SeedsState, seed: Seed, target: Target, host: KnownHost, out: Outbox): void {
  if (!host.takesSeeds) {
    fail(state, seed, target, new LayerswarmError('PEER_VERSION', { detail: 'its agent takes no seeds' }))
    return
  }
  const { image, platforms, containerd } = seed.spec
  change(state, target, { state: 'queued', error: undefined, awaitedSince: undefined })
  const every = Math.min(600_000, Math.max(REPORT_MS, (seed.targets.length / REPORTS_PER_SECOND) * 1000))
  const message = { t: 'seed' as const, id: seed.id, image, every, ...(platforms && { platforms }), ...(containerd && { containerd }) }
  out.push({ type: 'send', host: host.id, message })
}

function leave(state: SeedsState, id: string, now: number, out: Outbox): void {
  const host = state.hosts.get(id)
  if (host === undefined) return
  host.leftAt = now
  for (const seed of state.seeds.values()) {
    const target = seed.state === 'running' ? seed.byHost.get(id) : undefined
    if (target === undefined || !isOpen(target)) continue
    change(state, target, { state: 'waiting', awaitedSince: now })
    out.push({ type: 'keep', seed })
  }
}

function takeReport(state: SeedsState, seed: Seed, target: Target, report: Report, now: number, out: Outbox): void {
  if (seed.state === 'cancelled') {
    // It was away when the others were told.
    if (report.state === 'queued' || report.state === 'fetching')
      out.push({ type: 'send', host: target.id ?? '', message: { t: 'unseed', id: seed.id } })
    return
  }
  if (seed.state !== 'running' || !isOpen(target)) return
  const { size, counts, digest, error, given = 0, stale = false } = report
  const had = report.state === 'done' && counts.peer + counts.registry + given === 0
  change(state, target, { state: had ? 'here' : report.state, size, counts, digest, stale, error })
  if (isOpen(target)) return
  seed.open.delete(target)
  settle(seed, now, out)
}

function cancel(state: SeedsState, seed: Seed, now: number, out: Outbox): void {
  for (const target of seed.open) {
    if (target.awaitedSince === undefined && target.id !== undefined)
      out.push({ type: 'send', host: target.id, message: { t: 'unseed', id: seed.id } })
    change(state, target, { state: 'cancelled' })
  }
  seed.open.clear()
  end(seed, 'cancelled', now, out)
}

function giveUpAbsent(state: SeedsState, seed: Seed, now: number, out: Outbox): void {
  const absent = [...seed.open].filter(({ awaitedSince }) => awaitedSince !== undefined && now - awaitedSince >= ABSENT_MS)
  if (absent.length === 0) return
  for (const target of absent) fail(state, seed, target, new LayerswarmError('HOST_ABSENT', { detail: whyAbsent(state, target, now) }))
  settle(seed, now, out)
}

function whyAbsent(state: SeedsState, target: Target, now: number): string {
  const host = state.hosts.get(target.id ?? '')
  if (host?.leftAt === undefined || host.expected)
    return target.id === undefined ? 'no host has this name' : 'not seen since the tracker was started'
  return `gone for ${Math.round((now - host.leftAt) / 1000)} s`
}

function fail(state: SeedsState, seed: Seed, target: Target, error: LayerswarmError): void {
  change(state, target, { state: 'failed', error: toldError(error) })
  seed.open.delete(target)
}

function change(state: SeedsState, target: Target, to: Partial<Target>): void {
  Object.assign(target, to, { changed: ++state.revision })
}

/** Ends a seed of which nothing is open any more. Either way it is kept as it is now. */
function settle(seed: Seed, now: number, out: Outbox): void {
  if (seed.open.size > 0) out.push({ type: 'keep', seed })
  else end(seed, seed.targets.some((target) => target.state === 'failed') ? 'failed' : 'done', now, out)
}

function end(seed: Seed, how: 'done' | 'failed' | 'cancelled', now: number, out: Outbox): void {
  seed.state = how
  seed.endedAt = now
  out.push({ type: 'keep', seed }, { type: 'ended', seed })
}

/** @throws {LayerswarmError} SEEDS_FULL */
function makeRoom(state: SeedsState, targets: number, out: Outbox): void {
  const seeds = [...state.seeds.values()]
  const running = seeds.filter((seed) => seed.state === 'running')
  // Those that ended stay where their room would not do either.
  if (running.length >= MAX_SEEDS || targets + targetsOf(running) > MAX_TARGETS) throw new LayerswarmError('SEEDS_FULL')
  let total = targets + targetsOf(seeds)
  for (const seed of seeds) {
    if (total <= MAX_TARGETS && state.seeds.size < MAX_SEEDS) return
    if (seed.state === 'running') continue
    total -= seed.targets.length
    state.seeds.delete(seed.id)
    out.push({ type: 'forget', id: seed.id })
  }
}

function targetsOf(seeds: readonly Seed[]): number {
  return seeds.reduce((sum, { targets }) => sum + targets.length, 0)
}

function forgetGone(state: SeedsState, now: number): void {
  for (const host of state.hosts.values()) {
    if (host.leftAt !== undefined && (now - host.leftAt >= RECENT_MS || state.hosts.size > MAX_HOSTS)) state.hosts.delete(host.id)
  }
}
