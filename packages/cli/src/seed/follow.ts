import { setTimeout as sleep } from 'node:timers/promises'
import type { SeedDetail, SeedTarget } from '@layerswarm/core/api/seed-api.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import type { TrackerClient } from '../tracker-client.ts'

/** How long a tracker may be away, as for a restart, ms. */
const PATIENCE_MS = 60_000

export interface FollowOptions {
  /** Between two looks, ms. */
  readonly everyMs: number
  readonly signal: AbortSignal
  /** The tracker does not answer now; it is asked again. */
  readonly onAway: () => void
  readonly patienceMs?: number
}

/**
 * A seed as it goes, whole each time, until it has ended; the last one is the end. A tracker that is restarted
 * meanwhile is waited for.
 * @throws {LayerswarmError} TRACKER_API_UNREACHABLE, SEED_UNKNOWN; the signal's reason
 */
export async function* followSeed(client: Pick<TrackerClient, 'seed'>, id: string, options: FollowOptions): AsyncGenerator<SeedDetail> {
  const { everyMs, signal, onAway, patienceMs = PATIENCE_MS } = options
  const targets = new Map<number, SeedTarget>()
  let revision: number | undefined
  let awaySince: number | undefined
  while (true) {
    try {
      const seed = await client.seed(id, revision)
      awaySince = undefined
      revision = seed.revision
      for (const target of seed.targets) targets.set(target.number, target)
      yield { ...seed, targets: [...targets.values()] }
      if (seed.state !== 'running') return
    } catch (error) {
      signal.throwIfAborted()
      if (!isLayerswarmError(error, 'TRACKER_API_UNREACHABLE')) throw error
      if (awaySince === undefined) onAway()
      awaySince ??= performance.now()
      if (performance.now() - awaySince >= patienceMs) throw error
    }
    await sleep(everyMs, undefined, { signal }).catch(() => undefined)
    signal.throwIfAborted()
  }
}
