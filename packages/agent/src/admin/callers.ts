import type { Socket } from 'node:net'
import { isLoopback } from '@layerswarm/core/config/addresses.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'

/**
 * Refuses a caller on another machine. What is done here is done with the registry credentials of this host and on its
 * disk, and beyond loopback nothing else tells who asks.
 * @throws {LayerswarmError} LOCAL_ONLY
 */
export function checkCaller({ remoteAddress = '', localAddress }: Pick<Socket, 'remoteAddress' | 'localAddress'>): void {
  // Whoever asks an address of this host from this host comes from that address.
  if (isLoopback(remoteAddress) || remoteAddress === localAddress) return
  throw new LayerswarmError('LOCAL_ONLY', { detail: `asked from ${remoteAddress}` })
}
