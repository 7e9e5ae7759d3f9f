import type { OpenContent, SourceCounts } from '../ports.ts'

/** Where bytes came from, as the response header and the log say it. */
export type SourceName = 'local' | 'peer' | 'registry' | 'mixed'

/** One name for what is in hand. */
export function sourceOf(counts: SourceCounts): SourceName {
  const used = (['local', 'peer', 'registry'] as const).filter((source) => counts[source] > 0)
  return used.length > 1 ? 'mixed' : (used[0] ?? 'local')
}

/** Changes with every byte that comes in for content. */
export function movedBytes(content: Pick<OpenContent, 'counts' | 'moved'>): number {
  const { local, peer, registry } = content.counts()
  return local + peer + registry + (content.moved?.() ?? 0)
}
