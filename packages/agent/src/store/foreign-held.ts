import type { BlobStat, ForeignFile } from '../ports.ts'
import type { FileIdentity, ForeignBlob } from './foreign-blob.ts'

/** What is known of a file that another program keeps. */
export interface Held {
  file: ForeignFile
  state: 'unknown' | 'good' | 'bad'
  /** Of the file that `state` was found out about. */
  identity: FileIdentity | undefined
  usedAt: number
  readonly open: Set<ForeignBlob>
  /** The look that goes on at it. */
  looking: Promise<void> | undefined
  /** Who waits for it, each told the bytes that are hashed. */
  readonly awaited: Set<(bytes: number) => void>
}

interface Amount {
  readonly blobs: number
  readonly bytes: number
}

export interface ForeignUsage {
  readonly offered: Amount
  readonly unproven: Amount
  readonly corrupt: Amount
}

export function unproven(file: ForeignFile): Held {
  return { file, state: 'unknown', identity: undefined, usedAt: 0, open: new Set(), looking: undefined, awaited: new Set() }
}

export function usageOf(all: Iterable<Held>): ForeignUsage {
  const usage = { good: { blobs: 0, bytes: 0 }, unknown: { blobs: 0, bytes: 0 }, bad: { blobs: 0, bytes: 0 } }
  for (const { state, file } of all) {
    usage[state].blobs++
    usage[state].bytes += file.size
  }
  return { offered: usage.good, unproven: usage.unknown, corrupt: usage.bad }
}

export function statOf({ file: { digest, size }, usedAt }: Held): BlobStat {
  return { digest, size, state: 'complete', present: size, usedAt }
}
