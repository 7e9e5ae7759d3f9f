/** Who fetches a run when there is no tracker to say so: an order every host computes alike. */
import { createHash } from 'node:crypto'
import type { Digest } from '@layerswarm/core/digest.ts'

/** Wait of each host behind the first before it fetches a run that nobody around has announced, ms. */
export const OWNER_STEP_MS = 1000

/**
 * How many of `others` come before `self` for this run: 0 is the owner. Hosts are sorted by hash(blob, run, host), so
 * that runs spread evenly and two hosts that know the same neighbours agree.
 */
export function ownerRank(blob: Digest, run: number, self: string, others: Iterable<string>): number {
  const key = (host: string) => createHash('sha256').update(`${blob} ${run} ${host}`).digest('hex')
  const own = key(self)
  let rank = 0
  for (const other of others) if (key(other) < own) rank++
  return rank
}
