import type { SeedDetail, SeedSummary, SeedTarget } from '@layerswarm/core/api/seed-api.ts'
import { formatBytes, plural } from '../format.ts'

/** Bytes of a host that are there. */
export function arrived({ counts }: Pick<SeedTarget, 'counts'>): number {
  return counts.local + counts.peer + counts.registry
}

/** Text of hosts and from elsewhere, fit for a terminal. */
export function printable(text: string): string {
  return text.replaceAll(/\p{C}/gu, '?')
}

/** How a host fares, beside its name. */
export function targetText(target: SeedTarget): string {
  const { state, counts, size, error } = target
  const parts = [
    [counts.peer, 'from peers'],
    [counts.registry, 'from the registry'],
    [counts.local, 'already here']
  ] as const
  switch (state) {
    case 'waiting':
      return 'waiting      it is not connected'
    case 'queued':
      return 'queued'
    case 'fetching':
      return `fetching     ${size === 0 ? 'looking it up' : `${formatBytes(arrived(target))} of ${formatBytes(size)}`}`
    case 'done':
      return `done         ${parts.flatMap(([bytes, where]) => (bytes > 0 ? [`${formatBytes(bytes)} ${where}`] : [])).join(', ')}`
    case 'here':
      return `already here ${formatBytes(size)}`
    case 'failed':
      return `failed       ${printable(error?.message ?? 'for no known reason')}`
    case 'cancelled':
      return 'cancelled'
  }
}

/** How all hosts fare, in one line within 80 columns. @param rate bytes a second; undefined where it is not known */
export function fleetText({ states, counts, size, copies }: SeedSummary, rate?: number): string {
  const ended = states.done + states.here
  const failed = states.failed === 0 ? '' : `, ${states.failed} failed`
  const total = Object.values(states).reduce((sum, count) => sum + count, 0)
  const speed = rate === undefined ? '' : `  ${formatBytes(rate)}/s`
  return `${ended} of ${total} have it${failed}  ${formatBytes(arrived({ counts }))} of ${formatBytes(size)}${speed}  ${copies.toFixed(2)} copies`
}

/** What a seed came to, or has come to so far. */
export function summaryText({ image, states, counts, digests, stale, copies, seconds, size }: SeedSummary): string {
  const { done, here, failed, cancelled } = states
  const total = Object.values(states).reduce((sum, count) => sum + count, 0)
  const outcomes = [
    [done, 'done'],
    [here, 'already here'],
    [failed, 'failed'],
    [cancelled, 'cancelled'],
    [total - done - here - failed - cancelled, 'under way']
  ] as const
  const who = stale === 1 ? 'it has' : 'they have'
  const old = stale === 0 ? '' : `warning: ${plural(stale, 'host')} could not check the tag: ${who} what it pointed to before\n`
  const moved = digests.length > 1 ? `warning: its tag moved meanwhile; hosts have ${digests.join(', ')}\n` : ''
  const bytes =
    size === 0
      ? ''
      : `${formatBytes(size)}: ${formatBytes(counts.peer)} from peers, ${formatBytes(counts.registry)} from the registry (${copies.toFixed(2)} copies),\n` +
        `${formatBytes(counts.local)} already here\n`
  const told = outcomes.flatMap(([count, what]) => (count > 0 ? [`${count} ${what}`] : [])).join(', ')
  return (
    `${image}\n${digests.length === 1 ? `${digests[0]}\n` : ''}` +
    `${plural(total, 'host')} in ${seconds.toFixed(1)} s: ${told}\n${bytes}${moved}${old}`
  )
}

/** Hosts that failed, each reason once. */
export function failuresOf({ targets }: SeedDetail): string[] {
  const byReason = new Map<string, string[]>()
  for (const { name, state, error } of targets) {
    if (state !== 'failed') continue
    const reason = printable(error?.message ?? 'for no known reason')
    const names = byReason.get(reason) ?? []
    byReason.set(reason, names)
    names.push(printable(name))
  }
  return [...byReason].map(([reason, names]) => `${names.join(', ')}: ${reason}`)
}
