import type { BlobStore, PeerDirectory, PeerNetwork } from './ports.ts'
import type { Swarm } from './swarm/swarm.ts'

interface StatusParts {
  readonly id: string
  readonly name: string
  readonly store: Pick<BlobStore, 'list'>
  readonly peers: Pick<PeerNetwork, 'connected'>
  readonly directory: Pick<PeerDirectory, 'connected'>
  readonly swarm: Swarm
}

/** What the agent has and does now, for `/v1/status`. */
export async function agentStatus({ id, name, store, peers, directory, swarm }: StatusParts): Promise<object> {
  const held = { complete: { blobs: 0, bytes: 0 }, partial: { blobs: 0, bytes: 0 } }
  for await (const { state, present } of store.list()) {
    held[state].blobs++
    held[state].bytes += present
  }
  return {
    id,
    name,
    tracker: { connected: directory.connected },
    peers: peers.connected().length,
    store: held,
    transfers: swarm.transfers().map(({ digest, ref, partial, counts }) => ({
      digest,
      repository: `${ref.registry}/${ref.repository}`,
      size: partial.layout.size,
      counts
    }))
  }
}
