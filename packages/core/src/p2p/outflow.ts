import type { Socket } from 'node:net'

/** What has become of the bytes that a socket was given. */
export interface Outflow {
  /** Bytes that the operating system has taken. */
  readonly taken: number
  /** Bytes that wait for it: there are some only while its buffer for the connection is full. */
  readonly waiting: number
}

/** libuv's queue has no public name; Node's own time limit for idle sockets goes by it, too. */
export function outflowOf(socket: Socket): Outflow {
  const { _handle: handle } = socket as { readonly _handle?: { readonly writeQueueSize?: number } | null }
  const waiting = handle?.writeQueueSize ?? 0
  return { taken: socket.bytesWritten - waiting, waiting }
}

/**
 * Bytes that the other end has taken in between, as far as can be told: a buffer that was full has room again only when
 * some were acknowledged. What goes into a buffer that has room says nothing of the other end.
 */
export function takenBetween(before: Outflow | undefined, after: Outflow | undefined): number {
  if (before === undefined || after === undefined || before.waiting === 0) return 0
  return Math.max(0, after.taken - before.taken)
}
