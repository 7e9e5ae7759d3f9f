import type { AgentStatus } from '@layerswarm/core/api/status-api.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import { VERSION } from '@layerswarm/core/version.ts'
import type { BlobStore, PeerDirectory, PeerNetwork } from './ports.ts'
import type { RateLimits } from './rate-limits.ts'
import type { ForeignStore } from './store/foreign-store.ts'
import type { Swarm } from './swarm/swarm.ts'

interface StatusParts {
  readonly id: string
  readonly name: string
  /** Trackers that it was given. */
  readonly trackers: number
  readonly startedAt: number
  readonly clock: Clock
  readonly store: Pick<BlobStore, 'list'> & { readonly maxBytes: number }
  readonly limits: RateLimits['rates']
  readonly containerd: Pick<ForeignStore, 'usage'> & { readonly problem: string | undefined }
  readonly peers: Pick<PeerNetwork, 'connected'>
  readonly directory: Pick<PeerDirectory, 'connected'>
  readonly swarm: Pick<Swarm, 'activity'>
}

/** What the agent has and does now, for `/v1/status`. */
export async function agentStatus(parts: StatusParts): Promise<AgentStatus> {
  const { id, name, trackers, startedAt, clock, store, limits, containerd, peers, directory, swarm } = parts
  const held = { complete: { blobs: 0, bytes: 0 }, partial: { blobs: 0, bytes: 0 } }
  for await (const { state, present } of store.list()) {
    held[state].blobs++
    held[state].bytes += present
  }
  return {
    id,
    name,
    version: VERSION,
    seconds: (clock.now() - startedAt) / 1000,
    tracker: { connected: directory.connected, configured: trackers },
    peers: peers.connected().length,
    store: { ...held, bound: store.maxBytes },
    limits,
    containerd: { ...containerd.usage(), ...(containerd.problem !== undefined && { problem: containerd.problem }) },
    transfers: swarm.activity().map(({ transfer, seconds, waiting, sources, order }) => ({
      digest: transfer.digest,
      repository: `${transfer.ref.registry}/${transfer.ref.repository}`,
      size: transfer.partial.layout.size,
      counts: transfer.counts,
      seconds,
      waiting,
      sources,
      order
    }))
  }
}
