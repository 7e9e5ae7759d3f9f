import { type SeedDetail, type SeedSummary, type SeedTarget, TARGET_STATES, type TargetState } from '@layerswarm/core/api/seed-api.ts'
import type { Seed, SeedsState, Target } from './model.ts'

/** The two scales of time that are needed: the clock's, and what people read. */
export interface Times {
  /** On the clock of the seeds, ms. */
  readonly now: number
  /** What to add to such a time for milliseconds since 1970. */
  readonly epoch: number
}

export function viewSeed({ id, spec, state, startedAt, endedAt, targets }: Seed, { now, epoch }: Times): SeedSummary {
  const states = Object.fromEntries(TARGET_STATES.map((name) => [name, 0])) as Record<TargetState, number>
  const counts = { local: 0, peer: 0, registry: 0 }
  let size = 0
  for (const target of targets) {
    states[target.state]++
    size += target.size
    counts.local += target.counts.local
    counts.peer += target.counts.peer
    counts.registry += target.counts.registry
  }
  const { image, hosts, platforms, containerd } = spec
  return {
    id,
    image,
    hosts: [...hosts],
    ...(platforms && { platforms }),
    ...(containerd && { containerd }),
    state,
    startedAt: new Date(startedAt + epoch).toISOString(),
    seconds: Math.max(0, (endedAt ?? now) - startedAt) / 1000,
    states,
    size,
    counts,
    digests: [...new Set(targets.flatMap(({ digest }) => (digest === undefined ? [] : [digest])))],
    stale: targets.filter(({ stale }) => stale).length,
    copies: copiesOf(targets, counts.registry)
  }
}

/** @param since a revision: only what changed later is told */
export function viewDetail(state: SeedsState, seed: Seed, times: Times, since = 0): SeedDetail {
  const targets = seed.targets.flatMap((target, number) => (target.changed > since ? [viewTarget(target, number)] : []))
  return { ...viewSeed(seed, times), revision: state.revision, targets }
}

function viewTarget({ name, id, zone, state, size, counts, digest, stale, error }: Target, number: number): SeedTarget {
  return {
    number,
    name,
    ...(id && { id }),
    zone,
    state,
    size,
    counts,
    ...(digest && { digest }),
    ...(stale && { stale }),
    ...(error && { error })
  }
}

/** Hosts of one platform fetch the same number of bytes, and those of another hardly ever the same. */
function copiesOf(targets: readonly Target[], registryBytes: number): number {
  let unique = 0
  for (const size of new Set(targets.map((target) => target.size))) unique += size
  return unique === 0 ? 0 : registryBytes / unique
}
