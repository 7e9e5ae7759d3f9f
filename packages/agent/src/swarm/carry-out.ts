import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Logger } from 'pino'
import type { PeerDirectory, PeerNetwork } from '../ports.ts'
import type { SwarmCommand } from './messages.ts'
import type { Transfer } from './transfer.ts'

/** What the scheduler's commands are carried out with. */
export interface Means {
  readonly peers: Pick<PeerNetwork, 'connect' | 'ban'>
  readonly directory: Pick<PeerDirectory, 'tell'>
  readonly log: Logger
  readonly signal: AbortSignal
  readonly running: (blob: Digest) => Transfer | undefined
  /** All pieces of the blob are here. */
  readonly complete: (blob: Digest) => void
  /** Nobody needs the finished blob watched any longer. */
  readonly retire: (blob: Digest) => void
  readonly abandon: (blob: Digest, error: unknown) => void
}

/** Does what the scheduler decided. What comes of it is told to the scheduler as events. */
export function carryOut(command: SwarmCommand, means: Means): void {
  const { peers, directory, log } = means
  switch (command.type) {
    case 'connect':
      peers.connect(command.peer, { signal: means.signal }).catch((error: unknown) => {
        // A host that is down is the fleet's daily life; one of another version takes no part until somebody upgrades it.
        const level = isLayerswarmError(error, 'PEER_VERSION') ? 'warn' : 'debug'
        log[level]({ peer: command.peer.name, error: describeError(error) }, 'no connection to a peer')
      })
      return
    case 'ban':
      log.warn({ peer: command.peer }, 'a peer sent bytes that do not match their hash; it is dropped')
      peers.ban(command.peer, 'sent false bytes')
      return
    case 'tell':
      directory.tell(command.note)
      return
    case 'complete':
      means.complete(command.blob)
      return
    case 'retire':
      means.retire(command.blob)
      return
    case 'giveUp':
      means.abandon(command.blob, means.running(command.blob)?.registryError ?? new LayerswarmError('STALLED'))
      return
    default:
      carryOutAt(command, means.running(command.blob))
  }
}

type TransferCommand = Extract<SwarmCommand, { type: 'observe' | 'request' | 'cancel' | 'withdraw' | 'fetch' | 'stopFetch' }>

/** A transfer that has just closed needs nothing more done. */
function carryOutAt(command: TransferCommand, transfer: Transfer | undefined): void {
  if (command.type === 'observe') transfer?.observe(command.peer)
  else if (command.type === 'request') transfer?.request(command.peer, command.piece, command.faring)
  else if (command.type === 'cancel') transfer?.cancel(command.peer, command.piece)
  else if (command.type === 'withdraw') transfer?.withdraw(command.peer, command.piece)
  else if (command.type === 'fetch') transfer?.fetch(command.fetch, command.run)
  else transfer?.stopFetch(command.fetch)
}
