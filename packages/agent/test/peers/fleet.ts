import { type Clock, systemClock } from '@layerswarm/core/clock.ts'
import { type Identity, newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode, type P2pNode } from '@layerswarm/core/p2p/node.ts'
import type { PeerAddress } from '@layerswarm/core/wire/directory-protocol.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { pino } from 'pino'
import { Libp2pPeerNetwork, type PeerNetworkDeps } from '../../src/peers/network.ts'
import type { Availability, PeerEvent, PieceSource } from '../../src/ports.ts'

const quiet = pino({ level: process.env.LOG_LEVEL ?? 'silent' })

export interface Host extends AsyncDisposable {
  readonly node: P2pNode
  readonly store: MemoryBlobStore
  readonly network: Libp2pPeerNetwork
  readonly address: PeerAddress
}

/** An agent's peer part on loopback, over a store in memory. */
export async function host(options: Partial<PeerNetworkDeps> & { clock?: Clock; identity?: Identity } = {}): Promise<Host> {
  const { identity = await newIdentity(), ...deps } = options
  const node = await createNode({ identity, version: '0.0.0-test', listen: { host: '127.0.0.1', port: 0 } }, { log: quiet })
  const store = new MemoryBlobStore()
  const network = await Libp2pPeerNetwork.start({ node, store, uploadPolicy: () => 0, clock: systemClock, log: quiet, ...deps })
  return {
    node,
    store,
    network,
    address: { id: node.id, name: 'test', addrs: [...node.addresses] },
    [Symbol.asyncDispose]: async () => {
      await network[Symbol.asyncDispose]()
      await node[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    }
  }
}

/** All of a blob from one source, in order. */
export async function fetchAll(source: PieceSource, pieces: number, signal?: AbortSignal): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const { bytes } of source.fetch({ first: 0, count: pieces }, signal === undefined ? {} : { signal }))
    parts.push(Buffer.from(bytes))
  return Buffer.concat(parts)
}

/** Takes news until `enough` says so, and stops watching. */
export async function watchUntil(
  source: PieceSource,
  enough: (news: Availability, all: readonly Availability[]) => boolean
): Promise<Availability[]> {
  const all: Availability[] = []
  for await (const news of source.available()) {
    all.push(news)
    if (enough(news, all)) break
  }
  return all
}

/** The next event of a type. */
export async function nextEvent(network: Libp2pPeerNetwork, type: PeerEvent['type']): Promise<PeerEvent> {
  for await (const event of network.events()) if (event.type === type) return event
  throw new Error('the events ended')
}
