import type { Clock } from '@layerswarm/core/clock.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { Identity } from '@layerswarm/core/p2p/identity.ts'
import type { BlobStore, PeerDirectory, PeerNetwork } from './ports.ts'
import { registrySource } from './registry/registry-source.ts'
import type { Storage } from './storage.ts'
import { Swarm } from './swarm/swarm.ts'

interface SwarmParts {
  readonly local: Storage
  /** Where it answers from, and writes to. */
  readonly store: BlobStore
  readonly identity: Identity
  readonly peers: PeerNetwork
  readonly directory: PeerDirectory
  readonly clock: Clock
  readonly log: Logger
}

/** The swarm, with what of a data directory it works on. */
export function createSwarm({ local, store, identity, peers, directory, clock, log }: SwarmParts): Swarm {
  const { registry, metrics } = local
  return new Swarm({
    store,
    peers,
    directory,
    registrySource: (ref, layout) => registrySource(registry, ref, layout),
    overTls: local.overTls,
    key: identity.key,
    clock,
    log,
    random: Math.random,
    downloadLimit: local.limits.rates.download,
    metrics: {
      pieceFailure: (reason) => metrics.pieceFailures.inc({ reason }),
      received: (source, bytes) => source === 'peer' && metrics.bytes.inc({ direction: 'in', source }, bytes),
      committed: (seconds) => metrics.pullSeconds.observe(seconds)
    }
  })
}
