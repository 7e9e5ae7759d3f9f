import type { Digest } from '@layerswarm/core/digest.ts'
import type { Catalog, Entry } from './catalog.ts'
import type { ChangeFeed } from './change-feed.ts'
import type { Room } from './room.ts'
import type { StoreFiles } from './store-files.ts'

export interface KeepingDeps {
  readonly catalog: Catalog
  readonly files: StoreFiles
  readonly room: Room
  readonly changes: ChangeFeed
  readonly inUse: (digest: Digest) => boolean
  readonly now: () => number
}

/** Takes in blobs that are whole and proven already. */
export class Keeping {
  readonly #deps: KeepingDeps
  /** Those on their way to their places. */
  readonly #moving = new Map<Digest, Promise<void>>()

  constructor(deps: KeepingDeps) {
    this.#deps = deps
  }

  /**
   * Takes in a blob of `size` bytes that `move` puts in its place, unless it is here, or a fetch of it is under way:
   * that then ends without this one's help.
   */
  async keep(digest: Digest, size: number, move: () => Promise<void>): Promise<void> {
    const { catalog, files, room, changes, inUse, now } = this.#deps
    await room.settled(digest)
    while (this.#moving.has(digest)) await this.#moving.get(digest)
    if (catalog.get(digest)?.state === 'complete' || inUse(digest)) return
    catalog.remove(digest)
    const moving = files.removePartial(digest).then(move)
    const settled = moving.catch(() => {}).finally(() => this.#moving.delete(digest))
    this.#moving.set(digest, settled)
    await moving
    const entry: Entry = { digest, size, state: 'complete', bytes: size, present: size, usedAt: now(), savedAt: 0 }
    catalog.set(entry)
    changes.publish({ change: 'added', digest, size })
    await settled
    await catalog.touch(entry)
  }

  /** Settles once `digest` is at its place, or cannot get there; undefined while it is not on its way. */
  moving(digest: Digest): Promise<void> | undefined {
    return this.#moving.get(digest)
  }
}
