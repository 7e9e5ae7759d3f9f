import { type Digest, PIECE_HASH_BYTES } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import type { PieceLayout } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Logger } from 'pino'
import type { BlobStat } from '../ports.ts'
import { type Bound, chooseVictims, type Victims } from './eviction.ts'
import type { IndexDb } from './index-db.ts'
import { bytesOf } from './presence.ts'
import type { StoreFiles } from './store-files.ts'

/** How much newer the time of use has to be before it is written down. */
const USED_AT_GRAIN_MS = 10 * 60 * 1000

/** What is kept in memory of each blob on disk. */
export interface Entry {
  readonly digest: Digest
  readonly size: number
  state: 'complete' | 'partial'
  /** What it takes of the bound. */
  bytes: number
  /** Bytes verified. */
  present: number
  usedAt: number
  /** The value of `usedAt` that is written down. */
  savedAt: number
}

export interface CatalogDeps {
  readonly files: StoreFiles
  readonly db: IndexDb
  /** Another program on this host has the blob too, and its map serves for that. */
  readonly isElsewhere: (digest: Digest) => boolean
  readonly now: () => number
  readonly log: Pick<Logger, 'warn' | 'debug'> | undefined
}

/**
 * All blobs on disk. What lies in `blobs/` and `ingest/` decides what there is; the index only adds when a blob was
 * used and its piece map, and is caught up with the disk, never the other way round.
 */
export class Catalog {
  readonly #deps: CatalogDeps
  readonly #entries = new Map<Digest, Entry>()
  /** Maps that are being looked up or made: many peers may ask for one at a time, and a blob is hashed once for all. */
  readonly #maps = new Map<Digest, Promise<Uint8Array>>()

  constructor(deps: CatalogDeps) {
    this.#deps = deps
  }

  /** Lists what is on disk. Removes a blob whose file changed its size, and whatever is left over under `ingest/`. */
  async load(): Promise<void> {
    const { files, db, log } = this.#deps
    const facts = await db.facts()
    for await (const { digest, size, writtenAt } of files.blobs()) {
      const fact = facts.get(digest)
      if (fact !== undefined && fact.size !== size) {
        log?.warn({ digest }, 'a blob does not have the size it was committed with; it is removed')
        await files.removeBlob(digest)
        continue
      }
      facts.delete(digest)
      const usedAt = fact?.usedAt ?? writtenAt
      this.set({ digest, size, state: 'complete', bytes: size, present: size, usedAt, savedAt: fact?.usedAt ?? 0 })
    }
    for (const digest of facts.keys()) await db.forget(digest)
    for await (const { record, writtenAt } of files.partials()) {
      const { digest, layout, pieces } = record
      if (this.#entries.has(digest)) await files.removePartial(digest)
      else {
        const present = bytesOf(layout, PieceSet.of(layout.pieces, pieces.keys()))
        this.set({ digest, size: layout.size, state: 'partial', bytes: present, present, usedAt: writtenAt, savedAt: writtenAt })
      }
    }
  }

  get(digest: Digest): Entry | undefined {
    return this.#entries.get(digest)
  }

  set(entry: Entry): void {
    this.#entries.set(entry.digest, entry)
  }

  remove(digest: Digest): void {
    this.#entries.delete(digest)
  }

  *stats(): Generator<BlobStat> {
    for (const entry of [...this.#entries.values()]) yield statOf(entry)
  }

  /** Verified bytes held, by state. */
  usage(): { complete: number; partial: number } {
    const usage = { complete: 0, partial: 0 }
    for (const { state, present } of this.#entries.values()) usage[state] += present
    return usage
  }

  /** As {@link chooseVictims}; without `maxBytes`, what has to go to make `need` bytes of room from where things stand. */
  victims(inUse: (digest: Digest) => boolean, bound: Pick<Bound, 'need'> & { maxBytes?: number }): Victims {
    const entries = [...this.#entries.values()]
    const maxBytes = bound.maxBytes ?? entries.reduce((sum, entry) => sum + entry.bytes, 0)
    return chooseVictims(
      entries.map((entry) => ({ ...entry, inUse: inUse(entry.digest) })),
      { need: bound.need, maxBytes, now: this.#deps.now() }
    )
  }

  /** The blob is used now. Written down only now and then. */
  async touch(entry: Entry): Promise<void> {
    entry.usedAt = this.#deps.now()
    if (entry.state === 'complete' && entry.usedAt - entry.savedAt > USED_AT_GRAIN_MS) await this.#save([entry])
  }

  async committed(entry: Entry, map: Uint8Array): Promise<void> {
    await this.#facts(() => this.#deps.db.setMap(entry.digest, map))
    await this.#save([entry])
  }

  async forget(digest: Digest): Promise<void> {
    const isMapNeeded = this.#deps.isElsewhere(digest)
    await this.#facts(() => this.#deps.db.forget(digest, { isMapNeeded }))
  }

  /** The piece map of a complete blob, or what `compute` makes of the file where none is written down. */
  async map(digest: Digest, layout: PieceLayout, compute: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const running = this.#maps.get(digest) ?? this.#map(digest, layout, compute).finally(() => this.#maps.delete(digest))
    this.#maps.set(digest, running)
    return await running
  }

  async #map(digest: Digest, layout: PieceLayout, compute: () => Promise<Uint8Array>): Promise<Uint8Array> {
    let map: Uint8Array | undefined
    await this.#facts(async () => {
      map = await this.#deps.db.map(digest)
    })
    if (map?.byteLength === layout.pieces * PIECE_HASH_BYTES) return map
    const made = await compute()
    await this.#facts(() => this.#deps.db.setMap(digest, made))
    return made
  }

  /** Writes down every time of use that is not yet. */
  async save(): Promise<void> {
    await this.#save([...this.#entries.values()].filter(({ state, usedAt, savedAt }) => state === 'complete' && usedAt > savedAt))
  }

  async #save(entries: readonly Entry[]): Promise<void> {
    for (const entry of entries) entry.savedAt = entry.usedAt
    await this.#facts(() => this.#deps.db.setFacts(entries.map(({ digest, size, usedAt }) => [digest, { size, usedAt }])))
  }

  /** Facts are a convenience: a blob is no less there when they cannot be read or written. */
  async #facts(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#deps.log?.debug({ error: describeError(error) }, 'the index of the store cannot be used')
    }
  }
}

export function statOf(entry: Entry): BlobStat {
  const { digest, size, state, present, usedAt } = entry
  return { digest, size, state, present, usedAt }
}
