/**
 * How many blobs one host reads from the registry at once. Many small layers read side by side all arrive at the end, and
 * until then the host has nothing to give to others; one after another they cost a first byte each. So it is a few, and
 * more as long as a request takes hardly longer than the quickest did: then the link is not full yet.
 */

/** Blobs at once before anything is known: while one waits for its first byte the others stream. */
export const FIRST_SLOTS = 3
/** Most at once: what registries stand from one host. */
const MAX_SLOTS = 16
/** A first piece within this many times the quickest was hardly held up by others. */
const HARDLY = 2
/** One that took longer than this many times it was. */
const HELD_UP = 4

export interface FetchSlots {
  slots: number
  /** Shortest time from a request to its first piece, ms. */
  quickest: number
}

export function createFetchSlots(): FetchSlots {
  return { slots: FIRST_SLOTS, quickest: Number.POSITIVE_INFINITY }
}

/** The first piece of a request has come. @param took milliseconds since the request */
export function noteFirstPiece(fetching: FetchSlots, took: number): void {
  fetching.quickest = Math.min(fetching.quickest, took)
  if (took <= HARDLY * fetching.quickest) fetching.slots = Math.min(MAX_SLOTS, fetching.slots + 1)
  else if (took > HELD_UP * fetching.quickest) fetching.slots = Math.max(FIRST_SLOTS, fetching.slots - 1)
}
