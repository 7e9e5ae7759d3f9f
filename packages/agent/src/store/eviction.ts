import type { Digest } from '@layerswarm/core/digest.ts'

/** A partial blob that nobody went on with for a day is not coming back: its image was pulled elsewhere or given up. */
export const ABANDONED_AFTER_MS = 24 * 3600 * 1000

export interface StoredBlob {
  readonly digest: Digest
  readonly state: 'complete' | 'partial'
  /** What it takes of the bound; for a blob being written, what it will take. */
  readonly bytes: number
  /** When it was last read or written, ms since the epoch. */
  readonly usedAt: number
  /** Somebody reads or writes it: it stays. */
  readonly inUse: boolean
}

export interface Bound {
  readonly maxBytes: number
  /** Bytes about to be added. */
  readonly need: number
  /** Ms since the epoch. */
  readonly now: number
}

export interface Victims {
  readonly victims: readonly Digest[]
  /** Whether `need` fits once they are gone. */
  readonly fits: boolean
}

/**
 * What has to go so that `need` more bytes stay within the bound: abandoned partial blobs in any case, then the least
 * recently used, as few as suffice.
 */
export function chooseVictims(blobs: readonly StoredBlob[], bound: Bound): Victims {
  let used = blobs.reduce((sum, blob) => sum + blob.bytes, 0)
  const room = bound.maxBytes - bound.need
  const victims: Digest[] = []
  const rest: StoredBlob[] = []
  for (const blob of blobs) {
    if (blob.inUse) continue
    if (blob.state === 'partial' && bound.now - blob.usedAt > ABANDONED_AFTER_MS) {
      victims.push(blob.digest)
      used -= blob.bytes
    } else rest.push(blob)
  }
  if (used > room) {
    for (const blob of rest.sort((a, b) => a.usedAt - b.usedAt)) {
      if (used <= room) break
      victims.push(blob.digest)
      used -= blob.bytes
    }
  }
  return { victims, fits: used <= room }
}
