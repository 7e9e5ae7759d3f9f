import type { PullProgress, PullSummary } from '@layerswarm/core/api/local-api.ts'
import { formatBytes, plural } from '../format.ts'
import type { Step } from '../transfer-view.ts'

/** A blob of a pull, as views show it. */
export function pullStep(blob: PullProgress): Step {
  const { digest, size, done, counts } = blob
  const bytes = counts.local + counts.peer + counts.registry
  const note = bytes === 0 ? '' : `${Math.round((counts.peer / bytes) * 100)} % from peers`
  return { digest, size, bytes, done, outcome: sources(blob), note }
}

function sources({ counts }: PullProgress): string {
  const parts = [
    [counts.peer, 'from peers'],
    [counts.registry, 'from the registry'],
    [counts.local, 'already here']
  ] as const
  return parts.flatMap(([bytes, where]) => (bytes > 0 ? [`${formatBytes(bytes)} ${where}`] : [])).join(', ')
}

/** What the pull came to, for people. */
export function summaryText(done: PullSummary): string {
  const { image, digest, manifests, blobs, skipped, bytes, counts, containerd, seconds } = done
  const left = skipped === 0 ? '' : `\n${plural(skipped, 'layer')} left out: not for distribution, only its author may give it out`
  const given =
    containerd &&
    `\ncontainerd lacked ${plural(containerd.blobs, 'blob')} of it, ${formatBytes(containerd.bytes)}; namespace ${containerd.namespace}`
  return (
    `${image}\n${digest}\n` +
    `${plural(manifests, 'manifest')} and ${plural(blobs, 'blob')}, ${formatBytes(bytes)} in ${seconds.toFixed(1)} s: ` +
    `${formatBytes(counts.peer)} from peers,\n` +
    `${formatBytes(counts.registry)} from the registry, ${formatBytes(counts.local)} already here${left}${given ?? ''}\n`
  )
}
