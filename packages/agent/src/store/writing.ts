import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { PieceLayout } from '@layerswarm/core/piece-layout.ts'
import type { Logger } from 'pino'
import type { PartialBlob } from '../ports.ts'
import { FsPartialBlob } from './blob-handles.ts'
import type { Catalog, Entry } from './catalog.ts'
import type { ChangeFeed } from './change-feed.ts'
import type { FilePool } from './file-pool.ts'
import type { HashThread } from './hash-thread.ts'
import type { BlobsInUse, InUse } from './in-use.ts'
import { Ingest } from './ingest.ts'
import type { Keeping } from './keeping.ts'
import type { Room } from './room.ts'
import type { StoreFiles } from './store-files.ts'

export interface WritingDeps {
  readonly files: StoreFiles
  readonly pool: FilePool
  readonly hashes: HashThread
  readonly catalog: Catalog
  readonly room: Room
  readonly keeping: Keeping
  readonly inUse: BlobsInUse
  readonly changes: ChangeFeed
  readonly map: (use: InUse) => Promise<Uint8Array | undefined>
  /** Throws once the store is closed. */
  readonly check: () => void
  readonly now: () => number
  readonly log: Pick<Logger, 'warn'> | undefined
}

/** Partial blobs: one writer at a time for each, and what it left is taken up by the next. */
export class Writing {
  readonly #deps: WritingDeps

  constructor(deps: WritingDeps) {
    this.#deps = deps
  }

  /** See {@link BlobStore.begin}. */
  async begin(digest: Digest, layout: PieceLayout): Promise<PartialBlob> {
    const { room, keeping, catalog, inUse, changes, now } = this.#deps
    await room.settled(digest)
    while (keeping.moving(digest) !== undefined) await keeping.moving(digest)
    const held = catalog.get(digest)
    if (held?.state === 'complete') throw new Error(`${digest} is complete already`)
    const before = inUse.get(digest)
    if (before?.writing) throw new Error(`${digest} has a writer already`)
    if (before !== undefined && before.blob.layout.size !== layout.size) throw new LayerswarmError('SIZE_MISMATCH', { detail: digest })
    const use = before ?? inUse.begin(digest, layout, 'partial')
    use.writing = true
    use.blob.presence.recover()
    const at = now()
    const entry: Entry = { digest, size: layout.size, state: 'partial', bytes: layout.size, present: 0, usedAt: at, savedAt: at }
    const takingUp = this.#takeUp(use, entry)
    use.ready = takingUp.then(() => true)
    // Its failure is thrown below; a reader need not be there to see it.
    use.ready.catch(() => {})
    try {
      const ingest = await takingUp
      changes.publish({ change: 'started', digest, size: layout.size })
      return this.#writer(use, ingest, entry)
    } catch (error) {
      if (held !== undefined) catalog.set(held)
      else catalog.remove(digest)
      inUse.endWriting(use, error)
      throw error
    }
  }

  /** Makes room for a blob and finds what there is of it. */
  async #takeUp(use: InUse, entry: Entry): Promise<Ingest> {
    const { files, pool, hashes, room, log } = this.#deps
    await room.reserve(entry)
    if (use.ingest === undefined) {
      const relieve = (bytes: number): Promise<boolean> => room.relieve(bytes)
      const { ingest, lost } = await Ingest.open({ files, pool, hashes, relieve }, use.blob)
      use.ingest = ingest
      if (lost > 0) log?.warn({ digest: entry.digest, lost }, 'pieces of a partial blob were damaged and are fetched again')
    }
    entry.present = use.blob.presence.bytes
    return use.ingest
  }

  #writer(use: InUse, ingest: Ingest, entry: Entry): FsPartialBlob {
    const { inUse, map, now } = this.#deps
    const written = (): void => {
      entry.present = use.blob.presence.bytes
      entry.usedAt = now()
    }
    const release = async (): Promise<void> => {
      await ingest.release()
      if (entry.state === 'partial') entry.bytes = entry.present
      inUse.endWriting(use, new LayerswarmError('STALLED', { detail: 'the fetch was given up' }))
    }
    const commit = (): Promise<void> => this.#commit(ingest, entry)
    return new FsPartialBlob({ use, ingest, map: () => map(use), written, commit, release })
  }

  async #commit(ingest: Ingest, entry: Entry): Promise<void> {
    const { check, now, changes, catalog, room, log } = this.#deps
    check()
    const { digest, size } = entry
    if (entry.state === 'complete') return
    await ingest.commit()
    entry.state = 'complete'
    entry.usedAt = now()
    changes.publish({ change: 'added', digest, size })
    await catalog.committed(entry, ingest.map)
    await room.evict().catch((error: unknown) => log?.warn({ error: describeError(error) }, 'eviction failed'))
  }
}
