import { rm } from 'node:fs/promises'
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { Level } from 'level'
import { errnoOf } from './disk-errors.ts'

/** What is known of a blob beyond its file. Losing it costs a guess of when it was used, and a pass over the file. */
export interface BlobFacts {
  /** Bytes. */
  readonly size: number
  /** Ms since the epoch, coarse. */
  readonly usedAt: number
}

/** What was found out about a file of another program, for as long as it stays the same file. */
export interface Proof {
  /** Which file in which state, by its inode, size and times. */
  readonly identity: string
  /** Its digest is what it should be. */
  readonly good: boolean
}

/** The database of facts. Its lock also keeps a second process out of the data directory. */
export class IndexDb {
  readonly level: Level<string, string>
  /** The old one could not be read and was made anew. */
  readonly rebuilt: boolean
  readonly #blobs
  readonly #maps
  readonly #proofs

  private constructor(level: Level<string, string>, rebuilt: boolean) {
    this.level = level
    this.rebuilt = rebuilt
    this.#blobs = level.sublevel<Digest, BlobFacts>('blobs', { valueEncoding: 'json' })
    this.#maps = level.sublevel<string, Uint8Array>('maps', { valueEncoding: 'view' })
    this.#proofs = level.sublevel<Digest, Proof>('proofs', { valueEncoding: 'json' })
  }

  /** @throws {LayerswarmError} STORE_BUSY when another process has it open; what opening throws, unless a new one helps */
  static async open(path: string): Promise<IndexDb> {
    try {
      return await IndexDb.#readable(path, false)
    } catch (error) {
      const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
      if (errnoOf(cause) === 'LEVEL_LOCKED') throw new LayerswarmError('STORE_BUSY', { detail: path })
      if (!isDamage(cause)) throw cause
      await rm(path, { recursive: true, force: true })
      return await IndexDb.#readable(path, true)
    }
  }

  static async #readable(path: string, rebuilt: boolean): Promise<IndexDb> {
    const db = new IndexDb(new Level<string, string>(path), rebuilt)
    await db.level.open()
    try {
      // Opening reads little: damage to the tables shows when they are read.
      await db.facts()
      return db
    } catch (error) {
      await db.level.close()
      throw error
    }
  }

  async facts(): Promise<Map<Digest, BlobFacts>> {
    return new Map(await this.#blobs.iterator().all())
  }

  async setFacts(entries: readonly (readonly [Digest, BlobFacts])[]): Promise<void> {
    await this.#blobs.batch(entries.map(([key, value]) => ({ type: 'put', key, value })))
  }

  async map(digest: Digest): Promise<Uint8Array | undefined> {
    return await this.#maps.get(digest)
  }

  async setMap(digest: Digest, map: Uint8Array): Promise<void> {
    await this.#maps.put(digest, map)
  }

  async proofs(): Promise<Map<Digest, Proof>> {
    return new Map(await this.#proofs.iterator().all())
  }

  async setProof(digest: Digest, proof: Proof): Promise<void> {
    await this.#proofs.put(digest, proof)
  }

  async forgetProof(digest: Digest): Promise<void> {
    await this.#proofs.del(digest)
  }

  /** @param options.isMapNeeded its map stays */
  async forget(digest: Digest, { isMapNeeded = false }: { readonly isMapNeeded?: boolean } = {}): Promise<void> {
    await Promise.all([this.#blobs.del(digest), !isMapNeeded && this.#maps.del(digest)])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.level.close()
  }
}

/** Files that are missing or cut are I/O errors to LevelDB; a full or forbidden disk is too, and no damage. */
function isDamage(error: unknown): boolean {
  const code = errnoOf(error)
  if (code === 'LEVEL_IO_ERROR') return /No such file or directory|Invalid argument/.test((error as Error).message)
  return code === 'LEVEL_CORRUPTION' || code === 'LEVEL_NOT_FOUND' || code === 'LEVEL_DECODE_ERROR'
}
