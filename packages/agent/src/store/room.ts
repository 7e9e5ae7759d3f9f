import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Logger } from 'pino'
import type { Abortable, HoldingChange } from '../ports.ts'
import type { Catalog, Entry } from './catalog.ts'
import type { ChangeFeed } from './change-feed.ts'
import { diskError } from './disk-errors.ts'
import type { FilePool } from './file-pool.ts'
import type { StoreFiles } from './store-files.ts'

/** Least that a full disk is relieved of at a time, so that not every piece has to evict. */
const RELIEF_BYTES = 64 * 1024 * 1024

/** Files that an eviction removes between two looks at whether it should go on. */
const REMOVED_AT_A_TIME = 64

export interface RoomDeps {
  readonly catalog: Catalog
  readonly files: StoreFiles
  readonly pool: FilePool
  readonly changes: ChangeFeed
  readonly inUse: (digest: Digest) => boolean
  readonly log: Pick<Logger, 'debug'> | undefined
}

/** Keeps the store within its bound, and removes what goes. What is removed is gone from the catalog at once. */
export class Room {
  readonly #deps: RoomDeps
  readonly maxBytes: number
  readonly #removals = new Map<Digest, Promise<void>>()
  /** Bytes that {@link hold} made room for: they are not in the catalog. */
  #held = 0

  constructor(deps: RoomDeps, options: { maxBytes: number }) {
    this.#deps = deps
    this.maxBytes = options.maxBytes
  }

  /**
   * Puts `entry` into the catalog, with room made for all of its bytes before the first is written.
   * @throws {LayerswarmError} STORE_FULL, with nothing evicted in vain; STORE_FAILED
   */
  async reserve(entry: Entry): Promise<void> {
    const { catalog, inUse } = this.#deps
    const need = entry.bytes - (catalog.get(entry.digest)?.bytes ?? 0)
    const { victims, fits } = catalog.victims(inUse, { maxBytes: this.maxBytes, need: need + this.#held })
    if (!fits) throw new LayerswarmError('STORE_FULL', { detail: `${entry.size} bytes do not fit --max-disk` })
    catalog.set(entry)
    await this.#removeAll(victims)
  }

  /**
   * Makes room for bytes of which it is not known yet what they are; they stay counted until {@link letGo}.
   * @throws {LayerswarmError} STORE_FULL, with nothing evicted in vain; STORE_FAILED
   */
  async hold(bytes: number): Promise<void> {
    const { catalog, inUse } = this.#deps
    const { victims, fits } = catalog.victims(inUse, { maxBytes: this.maxBytes, need: this.#held + bytes })
    if (!fits) throw new LayerswarmError('STORE_FULL', { detail: `${bytes} bytes more do not fit --max-disk` })
    this.#held += bytes
    await this.#removeAll(victims)
  }

  letGo(bytes: number): void {
    this.#held -= bytes
  }

  /** Goes back within the bound, as far as what is in use allows. @returns what was removed. @throws the signal's reason */
  async evict({ signal }: Abortable = {}): Promise<readonly Digest[]> {
    const { catalog, inUse } = this.#deps
    const removed: Digest[] = []
    let chosen: readonly Digest[]
    do {
      signal?.throwIfAborted()
      // Chosen anew each time: meanwhile some may have been read, and are not to go any more.
      chosen = catalog.victims(inUse, { maxBytes: this.maxBytes, need: this.#held }).victims.slice(0, REMOVED_AT_A_TIME)
      await this.#removeAll(chosen)
      removed.push(...chosen)
    } while (chosen.length === REMOVED_AT_A_TIME)
    return removed
  }

  /** The disk is full though the bound is not reached: others use it too. @returns whether anything could go */
  async relieve(bytes: number): Promise<boolean> {
    const { victims } = this.#deps.catalog.victims(this.#deps.inUse, { need: Math.max(bytes, RELIEF_BYTES) })
    try {
      await this.#removeAll(victims)
    } catch {
      return false
    }
    return victims.length > 0
  }

  /** @throws {LayerswarmError} STORE_FAILED; the blob is then still held */
  async remove(entry: Entry): Promise<void> {
    const { catalog, changes } = this.#deps
    const { digest, size, state } = entry
    const tell = (change: HoldingChange['change']): void => {
      if (state === 'complete') changes.publish({ change, digest, size })
    }
    catalog.remove(digest)
    tell('removed')
    const removal = this.#removeFiles(digest, state).finally(() => this.#removals.delete(digest))
    this.#removals.set(digest, removal)
    try {
      await removal
    } catch (error) {
      catalog.set(entry)
      tell('added')
      throw diskError(error)
    }
  }

  /** Resolves once no file of `digest` (of any blob, if none is named) is being removed. */
  async settled(digest?: Digest): Promise<void> {
    await Promise.allSettled(digest === undefined ? this.#removals.values() : [this.#removals.get(digest)])
  }

  async #removeAll(digests: readonly Digest[]): Promise<void> {
    const entries = digests.map((digest) => this.#deps.catalog.get(digest)).filter((entry) => entry !== undefined)
    await Promise.all(entries.map((entry) => this.remove(entry)))
    if (entries.length > 0) this.#deps.log?.debug({ blobs: entries.length }, 'evicted')
  }

  async #removeFiles(digest: Digest, state: Entry['state']): Promise<void> {
    const { catalog, files, pool } = this.#deps
    await pool.forget(digest)
    if (state === 'partial') return await files.removePartial(digest)
    await files.removeBlob(digest)
    await catalog.forget(digest)
  }
}
