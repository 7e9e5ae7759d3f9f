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

/** The database of facts. Its lock also keeps a second process out of the data directory. */
export class IndexDb {
  readonly level: Level<string, string>
  /** The old one could not be read and was made anew. */
  readonly rebuilt: boolean
  readonly #blobs
  readonly #maps

  private constructor(level: Level<string, string>, rebuilt: boolean) {
    this.level = level
    this.rebuilt = rebuilt
    this.#blobs = level.sublevel<Digest, BlobFacts>('blobs', { valueEncoding: 'json' })
    this.#maps = level.sublevel<string, Uint8Array>('maps', { valueEncoding: 'view' })
  }

  /** @throws {LayerswarmError} STORE_BUSY when another process has it open, or what opening throws */
  static async open(path: string): Promise<IndexDb> {
    try {
      return new IndexDb(await openLevel(path), false)
    } catch (error) {
      const why = error instanceof Error ? error.cause : undefined
      if (errnoOf(why) === 'LEVEL_LOCKED') throw new LayerswarmError('STORE_BUSY', { detail: path })
      if (errnoOf(why) !== 'LEVEL_CORRUPTION') throw why ?? error
      await rm(path, { recursive: true, force: true })
      return new IndexDb(await openLevel(path), true)
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

  async forget(digest: Digest): Promise<void> {
    await Promise.all([this.#blobs.del(digest), this.#maps.del(digest)])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.level.close()
  }
}

async function openLevel(path: string): Promise<Level<string, string>> {
  const level = new Level<string, string>(path)
  await level.open()
  return level
}
