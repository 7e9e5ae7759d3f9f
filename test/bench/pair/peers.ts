/** The peer part of two agents, over a file instead of a store: what moving verified pieces costs without the rest. */
import { hash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { Libp2pPeerNetwork } from '@layerswarm/agent/peers/network.ts'
import type { BlobReader, BlobStore } from '@layerswarm/agent/ports.ts'
import { systemClock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode } from '@layerswarm/core/p2p/node.ts'
import type { PieceLayout } from '@layerswarm/core/piece-layout.ts'
import { pieceLength, pieceStart } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Receiver, Sender } from './subject.ts'

const BLOB = `sha256:${'0'.repeat(64)}` as Digest
/** Requests in flight, as the scheduler has them with one neighbour. */
const IN_FLIGHT = 14
const log = createLogger({ level: 'silent' })

async function network(store: Pick<BlobStore, 'open' | 'changes'>) {
  const node = await createNode({ identity: await newIdentity(), version: 'bench', listen: { host: '127.0.0.1', port: 0 } }, { log })
  return { node, network: await Libp2pPeerNetwork.start({ node, store, uploadPolicy: () => 0, clock: systemClock, log }) }
}

async function* nothing(): AsyncGenerator<never> {}

function layoutIn(size: number, pieceSize: number): PieceLayout {
  return { size, pieceSize, pieces: Math.ceil(size / pieceSize) }
}

/** @param pieceSize bytes of a piece */
export function sendPieces(pieceSize: number): Sender {
  return async (path) => {
    const file = await open(path)
    const layout = layoutIn((await file.stat()).size, pieceSize)
    const reader: BlobReader = {
      digest: BLOB,
      layout,
      complete: true,
      have: () => PieceSet.full(layout.pieces),
      piece: async (piece) => {
        const bytes = Buffer.allocUnsafeSlow(pieceLength(layout, piece))
        await file.read(bytes, 0, bytes.byteLength, pieceStart(layout, piece))
        return bytes
      },
      read: nothing,
      landed: nothing,
      claims: () => [],
      map: async () => undefined,
      [Symbol.asyncDispose]: async () => undefined
    }
    const { node } = await network({ open: async () => reader, changes: nothing })
    return JSON.stringify({ id: node.id, addrs: node.addresses, name: 'sender', size: layout.size })
  }
}

export function receivePieces(pieceSize: number): Receiver {
  return async (from, path, hashes) => {
    const { size, ...sender } = JSON.parse(from)
    const layout = layoutIn(size, pieceSize)
    const { network: peers } = await network({ open: async () => undefined, changes: nothing })
    await peers.connect(sender)
    await using file = await open(path, 'w')
    const source = peers.source(sender.id, BLOB, layout)
    let next = 0
    const worker = async (): Promise<void> => {
      while (next < layout.pieces) {
        for await (const { piece, bytes } of source.fetch({ first: next++, count: 1 })) {
          const sum = hash('sha256', bytes, 'hex')
          if (sum !== hashes[piece]) throw new Error(`piece ${piece} is wrong`)
          await file.write(bytes, 0, bytes.byteLength, pieceStart(layout, piece))
        }
      }
    }
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  }
}
