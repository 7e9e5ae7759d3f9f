/**
 * Blobs that another program keeps on this host, read where they lie. Nothing is copied and nothing is written there.
 *
 * A blob is there for others from the moment its digest is proven until its file changes or goes. Each file is hashed
 * once, the small ones (manifests) first, and the result is remembered for as long as it stays the same file.
 */
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { layoutOf, type PieceLayout } from '@layerswarm/core/piece-layout.ts'
import type { Logger } from 'pino'
import type { Abortable, BlobReader, BlobStat, BlobStore, ForeignState, HoldingChange } from '../ports.ts'
import { ChangeFeed } from './change-feed.ts'
import { onDisk } from './disk-errors.ts'
import { type FileIdentity, ForeignBlob, identify } from './foreign-blob.ts'
import { type ForeignUsage, type Held, statOf, unproven, usageOf } from './foreign-held.ts'
import type { HashThread } from './hash-thread.ts'
import { Proofs, type ProofsDeps } from './proofs.ts'
import { resting } from './resting.ts'
import { SmallestFirst } from './smallest-first.ts'
import { until } from './until.ts'

/** Times as long as it hashes that it rests: hashing takes a fifth of a core and of the disk, and what is asked for goes first. */
const REST = 4

export interface ForeignStoreDeps {
  readonly hashes: Pick<HashThread, 'proves' | 'pieces'>
  readonly db: ProofsDeps['db']
  /** The piece map of a blob, or what `compute` makes of it where none is known. */
  readonly map: (digest: Digest, layout: PieceLayout, compute: () => Promise<Uint8Array>) => Promise<Uint8Array>
  readonly clock: Clock
  readonly log: Pick<Logger, 'info' | 'warn' | 'debug'>
  /** Ms since the epoch. */
  readonly now?: () => number
}

export interface ForeignStoreOptions {
  /** Times as long as it hashes that it rests; 0 where somebody waits for the result. */
  readonly rest?: number
}

export class ForeignStore implements Pick<BlobStore, 'stat' | 'open' | 'list' | 'verify' | 'changes'>, AsyncDisposable {
  readonly #deps: ForeignStoreDeps
  readonly #now: () => number
  readonly #rest: number
  readonly #proofs: Proofs
  readonly #held = new Map<Digest, Held>()
  /** To be looked at. */
  readonly #queue = new SmallestFirst<Held>(({ file }) => file.size)
  readonly #changes = new ChangeFeed()
  readonly #stop = new AbortController()
  #proving: Promise<void> | undefined

  constructor(deps: ForeignStoreDeps, options: ForeignStoreOptions = {}) {
    this.#deps = deps
    this.#rest = options.rest ?? REST
    this.#proofs = new Proofs(deps)
    this.#now = deps.now ?? Date.now
  }

  /** There are these files now, and no others. What is new is offered once it is proven. */
  update({ files, touched = new Set() }: Omit<ForeignState, 'images'>): void {
    for (const [digest, held] of this.#held) {
      if (files.has(digest)) continue
      this.#held.delete(digest)
      this.#tell(held, 'removed')
      void this.#proofs.forget(digest)
    }
    for (const [digest, file] of files) {
      const held = this.#held.get(digest)
      if (held?.file.path === file.path && held.file.size === file.size) held.file = file
      else {
        if (held !== undefined) this.#tell(held, 'removed')
        const found = unproven(file)
        this.#held.set(digest, found)
        this.#queue.push(found)
      }
    }
    this.#prove()
    // One that was corrupt may have been mended, by another file of the same name.
    for (const held of this.#held.values()) {
      if (held.state === 'bad' || touched.has(held.file.digest)) void this.#lookAgain(held)
    }
  }

  has(digest: Digest): boolean {
    return this.#held.get(digest)?.state === 'good'
  }

  async stat(digest: Digest): Promise<BlobStat | undefined> {
    const held = this.#held.get(digest)
    return held?.state === 'good' ? statOf(held) : undefined
  }

  /**
   * Whether the other program keeps this blob for an image, and its file is there as it was when it was proven: its
   * owner's last word may be old, since it cannot always be asked.
   */
  async keeps(digest: Digest): Promise<boolean> {
    const held = this.#held.get(digest)
    if (held?.state !== 'good' || !held.file.kept) return false
    await this.#lookAgain(held)
    return this.#offers(held) && held.file.kept
  }

  async open(digest: Digest): Promise<BlobReader | undefined> {
    const held = this.#held.get(digest)
    if (held?.state !== 'good') return undefined
    const blob = await ForeignBlob.open(held.file).catch((error: unknown) => {
      this.#deps.log.debug({ digest, error: describeError(error) }, 'a blob of another program cannot be opened')
      return undefined
    })
    if (blob !== undefined && blob.identity === held.identity && this.#offers(held)) {
      held.usedAt = this.#now()
      held.open.add(blob)
      return blob.reader({ map: () => this.#map(held), released: () => held.open.delete(blob) })
    }
    await blob?.close()
    await this.#lookAgain(held)
    return undefined
  }

  async *list(): AsyncGenerator<BlobStat> {
    for (const held of [...this.#held.values()]) if (held.state === 'good') yield statOf(held)
  }

  async verify(digest: Digest, options: Parameters<BlobStore['verify']>[1] = {}): Promise<boolean | undefined> {
    const held = this.#held.get(digest)
    if (held?.state !== 'good') return undefined
    return await onDisk(() => this.#hash(held, options))
  }

  changes(options: Abortable = {}): AsyncIterable<HoldingChange> {
    return this.#changes.subscribe(options)
  }

  /** Blobs that are not what their digests say. */
  *corrupt(): Generator<{ readonly digest: Digest; readonly size: number }> {
    for (const { state, file } of this.#held.values()) if (state === 'bad') yield file
  }

  /** What there is of the other program's content: given to others, yet to be hashed, and found corrupt. */
  usage(): ForeignUsage {
    return usageOf(this.#held.values())
  }

  /** Resolves once every file that is known now was looked at. @throws the signal's reason */
  async proven(signal?: AbortSignal): Promise<void> {
    await until(this.#proving, signal)
  }

  /**
   * Looks at one blob now, at full speed, before all others.
   * @param options.onProgress told the bytes hashed so far, where they have to be
   * @returns whether it is what its digest says; undefined where it is not there, or changed meanwhile
   * @throws the signal's reason; the look goes on then
   */
  async prove(
    digest: Digest,
    { signal, onProgress = () => undefined }: Abortable & { readonly onProgress?: (bytes: number) => void } = {}
  ): Promise<boolean | undefined> {
    const held = this.#held.get(digest)
    if (held?.state === 'unknown') {
      const waiting = (bytes: number): void => onProgress(bytes)
      held.awaited.add(waiting)
      try {
        await until(this.#look(held), signal)
      } finally {
        held.awaited.delete(waiting)
      }
    }
    const state = this.#held.get(digest)?.state
    return state === undefined || state === 'unknown' ? undefined : state === 'good'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new LayerswarmError('STOPPING'))
    await this.#proving
    await Promise.all([...this.#held.values()].map(({ looking }) => looking))
    this.#changes.close()
  }

  /** @throws {LayerswarmError} STORE_FAILED, also when the file is another by now: its map would be another blob's */
  async #map({ file, identity }: Held): Promise<Uint8Array> {
    const layout = layoutOf(file.size)
    return await this.#deps.map(file.digest, layout, async () => {
      const map = await this.#deps.hashes.pieces(file.path, layout, [...Array(layout.pieces).keys()])
      if ((await identify(file))?.identity === identity) return map
      throw new LayerswarmError('STORE_FAILED', { detail: 'a file changed while it was hashed' })
    })
  }

  /** Others may have it now. */
  #offers(held: Held): boolean {
    return held.state === 'good' && this.#held.get(held.file.digest) === held
  }

  #prove(): void {
    if (this.#stop.signal.aborted) return
    this.#proving ??= this.#proveAll().finally(() => {
      this.#proving = undefined
      if (this.#queue.length > 0) this.#prove()
    })
  }

  #next(): Held | undefined {
    for (let held = this.#queue.pop(); held !== undefined; held = this.#queue.pop()) {
      if (held.state === 'unknown' && this.#held.get(held.file.digest) === held) return held
    }
    return undefined
  }

  async #proveAll(): Promise<void> {
    for (let held = this.#next(); held !== undefined && !this.#stop.signal.aborted; held = this.#next()) await this.#look(held)
    if (!this.#stop.signal.aborted) await this.#proofs.forgetAllBut((digest) => this.#held.has(digest))
  }

  /** Finds out what it is, once for all who want to know. */
  #look(held: Held): Promise<void> {
    held.looking ??= this.#lookAt(held).finally(() => {
      held.looking = undefined
    })
    return held.looking
  }

  async #lookAt(held: Held): Promise<void> {
    const { digest } = held.file
    const { signal } = this.#stop
    try {
      const proof = await this.#proofs.recall(digest)
      const found = await identify(held.file)
      if (found !== undefined) held.usedAt = found.writtenAt
      if (found === undefined) this.#changed(held, false)
      else if (proof?.identity === found.identity) this.#found(held, found.identity, proof.good)
      else {
        const rest = resting(this.#deps.clock, this.#rest, signal, () => held.awaited.size > 0)
        const onProgress = async (bytes: number): Promise<void> => {
          for (const told of held.awaited) told(bytes)
          await rest()
        }
        await this.#hash(held, { signal, onProgress })
      }
    } catch (error) {
      if (signal.aborted) return
      this.#deps.log.debug({ digest, error: describeError(error) }, 'a blob of another program cannot be read')
      this.#changed(held, false)
    }
  }

  /** @returns undefined where the file went, or changed meanwhile */
  async #hash(held: Held, options: Parameters<HashThread['proves']>[3]): Promise<boolean | undefined> {
    const { file } = held
    const before = await identify(file)
    const good = before === undefined ? false : await this.#deps.hashes.proves(file.path, file.digest, file.size, options)
    const after = await identify(file)
    if (this.#held.get(file.digest) !== held) return undefined
    if (before === undefined || after?.identity !== before.identity) {
      this.#changed(held, after !== undefined)
      return undefined
    }
    const { identity } = before
    this.#found(held, identity, good)
    await this.#proofs.keep(file.digest, { identity, good })
    return good
  }

  #found(held: Held, identity: FileIdentity, good: boolean): void {
    const { file } = held
    if (!good) this.#withdraw(held, 'bad')
    else if (held.state !== 'good') {
      held.state = 'good'
      this.#changes.publish({ change: 'added', digest: file.digest, size: file.size })
    }
    held.identity = identity
    if (!good) this.#deps.log.warn({ digest: file.digest, path: file.path }, 'a blob of another program is corrupt; it is not offered')
  }

  /** It may have been written to. */
  async #lookAgain(held: Held): Promise<void> {
    const found = await identify(held.file).catch(() => undefined)
    if (held.state !== 'unknown' && found?.identity !== held.identity) this.#changed(held, found !== undefined)
  }

  /** Its file is another than it was (to be proven anew), or is not to be had: then its owner's next word counts. */
  #changed(held: Held, there: boolean): void {
    const { digest } = held.file
    if (this.#held.get(digest) !== held) return
    this.#withdraw(held, 'unknown')
    if (there) {
      this.#queue.push(held)
      this.#prove()
    } else {
      this.#held.delete(digest)
      void this.#proofs.forget(digest)
    }
  }

  #withdraw(held: Held, state: Held['state']): void {
    this.#tell(held, 'removed')
    held.state = state
    for (const blob of held.open) blob.refute(new LayerswarmError('DIGEST_MISMATCH', { detail: held.file.digest }))
  }

  #tell({ state, file: { digest, size } }: Held, change: 'removed'): void {
    if (state === 'good') this.#changes.publish({ change, digest, size })
  }
}
