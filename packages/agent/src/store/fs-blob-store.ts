/**
 * Verified content in an OCI image layout on disk.
 *
 *   oci-layout, index.json, blobs/<algorithm>/<hex>   committed blobs: whatever lies there is whole and synced
 *   ingest/<algorithm>-<hex>.data and .side           blobs being written, see side-file.ts
 *   index/                                            facts in level: never needed to find a blob
 *
 * Who owns what: the Catalog knows each blob on disk; BlobsInUse holds those that somebody reads or writes, which stay;
 * Writing gives each its one writer; Room decides what goes; an Ingest alone writes into `ingest/`, and StoreFiles alone
 * moves and removes files. What decides on the catalog or on what is in use changes them before it first waits, so that
 * no two calls decide on the same state.
 */
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { layoutOf, type PieceLayout } from '@layerswarm/core/piece-layout.ts'
import type { Logger } from 'pino'
import type { Abortable, BlobIntake, BlobReader, BlobStat, BlobStore, HoldingChange, IncomingBlob, PartialBlob } from '../ports.ts'
import { FsBlobReader } from './blob-handles.ts'
import { Catalog, type Entry, statOf } from './catalog.ts'
import { ChangeFeed } from './change-feed.ts'
import { errnoOf, onDisk } from './disk-errors.ts'
import { FilePool } from './file-pool.ts'
import { ForeignStore, type ForeignStoreDeps, type ForeignStoreOptions } from './foreign-store.ts'
import { HashThread } from './hash-thread.ts'
import { BlobsInUse, type InUse } from './in-use.ts'
import { Incoming, type IncomingDeps } from './incoming.ts'
import { IndexDb } from './index-db.ts'
import { Keeping } from './keeping.ts'
import { LevelContentIndex } from './level-content-index.ts'
import { Room } from './room.ts'
import { StoreFiles } from './store-files.ts'
import { Writing } from './writing.ts'

/** Data files open at a time: far below the usual limit of 1024, far above what moves at once. */
const MAX_OPEN_FILES = 256

export interface FsBlobStoreOptions {
  readonly dataDir: string
  /** Bound on the bytes of all blobs, those being written included. */
  readonly maxBytes: number
  readonly maxOpenFiles?: number
}

export interface FsBlobStoreDeps {
  readonly log?: Pick<Logger, 'info' | 'warn' | 'debug'>
  /** Ms since the epoch. */
  readonly now?: () => number
}

export class FsBlobStore implements BlobStore, BlobIntake {
  /** Which content was reached through which repository: facts in the same database. */
  readonly content: LevelContentIndex
  readonly #log: FsBlobStoreDeps['log']
  readonly #now: () => number
  readonly #files: StoreFiles
  readonly #db: IndexDb
  readonly #pool: FilePool
  readonly #hashes: HashThread
  readonly #catalog: Catalog
  readonly #room: Room
  readonly #incoming: IncomingDeps
  readonly #inUse: BlobsInUse
  readonly #writing: Writing
  readonly #keeping: Keeping
  readonly #changes = new ChangeFeed()
  #foreign: ForeignStore | undefined
  #closed: Promise<void> | undefined

  private constructor(deps: FsBlobStoreDeps & { files: StoreFiles; db: IndexDb }, options: FsBlobStoreOptions) {
    const { files, db, log, now = Date.now } = deps
    this.#log = log
    this.#now = now
    this.#files = files
    this.#db = db
    this.#pool = new FilePool({ maxOpen: options.maxOpenFiles ?? MAX_OPEN_FILES })
    this.#hashes = new HashThread()
    const isElsewhere = (digest: Digest): boolean => this.#foreign?.has(digest) ?? false
    const catalog = new Catalog({ files, db, isElsewhere, now, log })
    this.#catalog = catalog
    this.#inUse = new BlobsInUse({ files, pool: this.#pool })
    const inUse = (digest: Digest): boolean => this.#inUse.has(digest)
    this.#room = new Room({ catalog, files, pool: this.#pool, changes: this.#changes, inUse, log }, { maxBytes: options.maxBytes })
    this.#keeping = new Keeping({ catalog, files, room: this.#room, changes: this.#changes, inUse, now })
    this.#incoming = { files, pool: this.#pool, hashes: this.#hashes, room: this.#room, keeping: this.#keeping }
    this.#writing = new Writing({
      ...this.#incoming,
      catalog,
      inUse: this.#inUse,
      changes: this.#changes,
      map: (use) => this.#map(use),
      check: () => this.#check(),
      now,
      log
    })
    this.content = new LevelContentIndex({ level: db.level, now })
  }

  /**
   * Opens a data directory, made when there is none, and lists what is on disk.
   * @throws {LayerswarmError} STORE_BUSY while another process has it open, STORE_FULL, STORE_FAILED
   */
  static async open(options: FsBlobStoreOptions, deps: FsBlobStoreDeps = {}): Promise<FsBlobStore> {
    return await onDisk(async () => {
      await using stack = new AsyncDisposableStack()
      const files = new StoreFiles(options.dataDir)
      await files.prepare()
      const db = stack.use(await IndexDb.open(files.index))
      if (db.rebuilt) deps.log?.warn('the index of the store was damaged and is made anew; no blob is lost')
      const store = stack.use(new FsBlobStore({ ...deps, files, db }, options))
      await store.#catalog.load()
      await store.forgetUnused()
      await store.evict()
      stack.move()
      return store
    })
  }

  async stat(digest: Digest): Promise<BlobStat | undefined> {
    const entry = this.#catalog.get(digest)
    return entry === undefined ? undefined : statOf(entry)
  }

  async open(digest: Digest): Promise<BlobReader | undefined> {
    this.#check()
    const entry = this.#catalog.get(digest)
    if (entry === undefined) return undefined
    let use = this.#inUse.get(digest)
    if (use === undefined) {
      if (entry.state === 'partial') return undefined
      use = this.#inUse.begin(digest, layoutOf(entry.size), 'complete')
      use.ready = use.blob.intact()
    } else if (!use.writing && !use.blob.presence.complete) return undefined
    use.readers++
    const release = (): Promise<void> => this.#releaseReader(use, entry)
    try {
      if (await use.ready) return new FsBlobReader({ use, map: () => this.#map(use), release })
    } catch (error) {
      await release()
      throw error
    }
    this.#log?.warn({ digest }, 'a blob vanished from the data directory, or its size changed')
    await release()
    if (this.#catalog.get(digest) === entry && !this.#inUse.has(digest)) await this.#room.remove(entry)
    return undefined
  }

  async begin(digest: Digest, layout: PieceLayout): Promise<PartialBlob> {
    this.#check()
    return await this.#writing.begin(digest, layout)
  }

  async receive(): Promise<IncomingBlob> {
    this.#check()
    return await Incoming.open(this.#incoming)
  }

  async delete(digest: Digest): Promise<boolean> {
    this.#check()
    const entry = this.#catalog.get(digest)
    if (entry === undefined || this.#inUse.has(digest)) return false
    await this.#room.remove(entry)
    return true
  }

  async *list(): AsyncGenerator<BlobStat> {
    yield* this.#catalog.stats()
  }

  async verify(digest: Digest, options: Abortable & { readonly onProgress?: (bytes: number) => void } = {}): Promise<boolean | undefined> {
    this.#check()
    const entry = this.#catalog.get(digest)
    if (entry?.state !== 'complete') return undefined
    const good = await this.#proves(entry, options)
    // It may have been evicted, or even fetched again, meanwhile.
    if (this.#catalog.get(digest) !== entry) return undefined
    if (good) return true
    this.#log?.warn({ digest }, 'a blob on disk is corrupt; it is removed')
    this.#inUse.refute(digest)
    await this.#room.remove(entry)
    return false
  }

  changes(options: Abortable = {}): AsyncIterable<HoldingChange> {
    return this.#changes.subscribe(options)
  }

  /** Another program's content, hashed by this store's thread and remembered in its index. To be disposed before this store. */
  foreign(deps: Pick<ForeignStoreDeps, 'clock' | 'log'>, options: ForeignStoreOptions = {}): ForeignStore {
    const map: ForeignStoreDeps['map'] = (digest, layout, compute) => this.#catalog.map(digest, layout, compute)
    const db: ForeignStoreDeps['db'] = {
      proofs: () => this.#db.proofs(),
      setProof: (digest, proof) => this.#db.setProof(digest, proof),
      forgetProof: async (digest) => {
        // Its map too, which nobody else would ever remove.
        const isMapLeft = this.#catalog.get(digest) === undefined
        await Promise.all([this.#db.forgetProof(digest), isMapLeft && this.#db.forget(digest)])
      }
    }
    this.#foreign = new ForeignStore({ ...deps, hashes: this.#hashes, db, map, now: this.#now }, options)
    return this.#foreign
  }

  /** Bound on the bytes of all blobs. */
  get maxBytes(): number {
    return this.#room.maxBytes
  }

  /** Verified bytes held, by state. */
  usage(): { complete: number; partial: number } {
    return this.#catalog.usage()
  }

  /**
   * Forgets where content belongs that is not on this host and was not asked for in a month. Ends early when the signal fires.
   * @throws {LayerswarmError} STORE_FULL, STORE_FAILED
   */
  async forgetUnused(options: Abortable = {}): Promise<void> {
    await this.content.prune((digest) => this.#catalog.get(digest) !== undefined || this.#foreign?.has(digest) === true, options)
  }

  /**
   * Brings the store within its bound, as far as what is in use allows. @returns what was removed
   * @throws {LayerswarmError} STORE_FAILED; the signal's reason, with what was removed until then gone
   */
  async evict(options: Abortable = {}): Promise<readonly Digest[]> {
    return await this.#room.evict(options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  #check(): void {
    if (this.#closed !== undefined) throw new LayerswarmError('STORE_FAILED', { detail: 'the store is closed' })
  }

  /** A file that is missing, of another size or unreadable proves nothing; one that may not be opened says nothing. */
  async #proves({ digest, size }: Entry, options: Parameters<BlobStore['verify']>[1]): Promise<boolean> {
    try {
      if ((await onDisk(() => this.#files.sizeOf(digest))) !== size) return false
      return await this.#hashes.proves(this.#files.blob(digest), digest, size, options)
    } catch (error) {
      const cause = error instanceof LayerswarmError ? error.cause : error
      if (errnoOf(cause) === 'EIO') return false
      throw error
    }
  }

  async #map({ blob, ingest }: InUse): Promise<Uint8Array | undefined> {
    if (!blob.presence.complete) return undefined
    if (ingest !== undefined) return ingest.map.slice()
    const { digest, layout, presence, path } = blob
    return await this.#catalog.map(digest, layout, () => this.#hashes.pieces(path, layout, [...presence.have]))
  }

  async #releaseReader(use: InUse, entry: Entry): Promise<void> {
    this.#inUse.endReading(use)
    await this.#catalog.touch(entry)
  }

  async #close(): Promise<void> {
    this.#inUse.failAll(new LayerswarmError('STORE_FAILED', { detail: 'the store is closed' }))
    // First, for a large blob that is being proven must not hold the end up.
    await this.#hashes[Symbol.asyncDispose]()
    await this.#inUse.releaseAll()
    await this.#room.settled()
    this.#changes.close()
    await this.#pool[Symbol.asyncDispose]()
    await this.#catalog.save()
    await this.#db[Symbol.asyncDispose]()
  }
}
