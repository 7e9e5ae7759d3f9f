/** Blobs that were vouched for falsely, and the hosts that did it. All of it is bounded: whoever cries most is forgotten first. */
import type { Claim } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'

/** Blobs in dispute at a time; each remembers two or three hosts for each of its runs. */
export const MAX_DISPUTES = 64
/** Verdicts, and hosts that had a blob fetched again, that are remembered. */
export const MAX_REMEMBERED = 4096
/** Accused hosts whose words one reporter may bring for a blob before its map is proven. */
export const MAX_ACCUSED_PER_REPORTER = 8
/** Reporters heard for one blob before its map is proven. */
export const MAX_REPORTERS = 32
/** How long a liar vouches for nothing the first time; the second time it is for good, ms. */
export const DISTRUST_MS = 3_600_000
/** How long a host that was let off is not let off for another blob, ms. */
export const LET_OFF_MS = 24 * 3_600_000
/** How often one host may have a blob fetched again on its word alone, ms. */
export const DISPUTE_EACH_MS = 3_600_000

/** A blob whose pieces fitted their claims while the whole did not fit its digest. */
export interface Dispute {
  /** The host on whose word it was opened; undefined where only evidence was brought. */
  openedBy: string | undefined
  /** Hosts that fetched each run from the registry: others are to fetch it again. */
  readonly authors: Map<number, Set<string>>
  /** What the accused signed, by reporter, then by accused. Judged once the map is proven. */
  readonly evidence: Map<string, Map<string, Claim>>
}

export interface Verdict {
  readonly times: number
  /** Infinity: for good. */
  readonly until: number
}

export interface Trust {
  readonly disputes: Map<Digest, Dispute>
  readonly verdicts: Map<string, Verdict>
  /** Hosts that were let off, for which blob, and until when they are for no other. */
  readonly letOff: Map<string, { readonly blob: Digest; readonly until: number }>
  /** Hosts that had a blob fetched again, and when they may once more. */
  readonly spent: Map<string, number>
}

export function createTrust(): Trust {
  return { disputes: new Map(), verdicts: new Map(), letOff: new Map(), spent: new Map() }
}

/** The blob's dispute; a new one takes the place of the oldest where there are too many. */
export function openDispute(trust: Trust, blob: Digest): Dispute {
  const known = trust.disputes.get(blob)
  if (known !== undefined) return known
  const dispute: Dispute = { openedBy: undefined, authors: new Map(), evidence: new Map() }
  remember(trust.disputes, blob, dispute, MAX_DISPUTES)
  return dispute
}

export function noteAuthor(dispute: Dispute, run: number, host: string): void {
  const authors = dispute.authors.get(run)
  if (authors === undefined) dispute.authors.set(run, new Set([host]))
  else authors.add(host)
}

/** Finds a host guilty. @returns until when nothing that it says counts; undefined where that was decided before */
export function convict(trust: Trust, host: string, now: number): number | undefined {
  const before = trust.verdicts.get(host)
  if (before !== undefined && before.until > now) return undefined
  const until = before === undefined ? now + DISTRUST_MS : Number.POSITIVE_INFINITY
  remember(trust.verdicts, host, { times: (before?.times ?? 0) + 1, until }, MAX_REMEMBERED)
  return until
}

export function isDistrusted(trust: Trust, host: string, now: number): boolean {
  return (trust.verdicts.get(host)?.until ?? now) > now
}

/**
 * Lets a host off that vouched falsely for a blob, as others did: the registry is the likelier cause. Once a day, so that
 * liars who act together gain one download more each; and not after a verdict. @returns whether it is let off
 */
export function letOff(trust: Trust, host: string, blob: Digest, now: number): boolean {
  if (trust.verdicts.has(host) || (trust.letOff.get(host)?.until ?? now) > now) return false
  remember(trust.letOff, host, { blob, until: now + LET_OFF_MS }, MAX_REMEMBERED)
  return true
}

/** Whether the host was let off for this blob: whoever brings the same again convicts nobody. */
export function wasLetOff(trust: Trust, host: string, blob: Digest, now: number): boolean {
  const before = trust.letOff.get(host)
  return before?.blob === blob && before.until > now
}

/** Whether the host may have a blob fetched again on its word; it then may not for a while. */
export function spend(trust: Trust, host: string, now: number): boolean {
  if ((trust.spent.get(host) ?? now) > now) return false
  remember(trust.spent, host, now + DISPUTE_EACH_MS, MAX_REMEMBERED)
  return true
}

function remember<K, V>(map: Map<K, V>, key: K, value: V, most: number): void {
  map.delete(key)
  map.set(key, value)
  for (const oldest of map.keys()) {
    if (map.size <= most) break
    map.delete(oldest)
  }
}
