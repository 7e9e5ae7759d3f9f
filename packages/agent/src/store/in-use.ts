import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { PieceLayout } from '@layerswarm/core/piece-layout.ts'
import { FsBlob, type FsBlobDeps } from './fs-blob.ts'
import type { Ingest } from './ingest.ts'

/** A blob that somebody reads or writes. */
export interface InUse {
  readonly blob: FsBlob
  ingest: Ingest | undefined
  /** Settles once it can be read; false: the file is not there as it was. */
  ready: Promise<boolean>
  readers: number
  writing: boolean
}

/** The blobs that are in use: each once, shared by its readers and its writer, until the last of them is done. */
export class BlobsInUse {
  readonly #deps: FsBlobDeps
  readonly #blobs = new Map<Digest, InUse>()

  constructor(deps: FsBlobDeps) {
    this.#deps = deps
  }

  has(digest: Digest): boolean {
    return this.#blobs.has(digest)
  }

  get(digest: Digest): InUse | undefined {
    return this.#blobs.get(digest)
  }

  /** For the first who uses it. */
  begin(digest: Digest, layout: PieceLayout, state: 'complete' | 'partial'): InUse {
    const complete = state === 'complete'
    const blob = new FsBlob(this.#deps, digest, layout, { complete })
    const use: InUse = { blob, ingest: undefined, ready: Promise.resolve(true), readers: 0, writing: !complete }
    this.#blobs.set(digest, use)
    return use
  }

  /** A reader is done with it. */
  endReading(use: InUse): void {
    use.readers--
    this.#dropUnused(use)
  }

  /** Its writer is done with it. @param why what those hear who wait for more of it */
  endWriting(use: InUse, why: unknown): void {
    use.writing = false
    use.blob.presence.fail(why)
    this.#dropUnused(use)
  }

  /** It was false: nobody may read on, and whoever asks next does not get this one. */
  refute(digest: Digest): void {
    this.#blobs.get(digest)?.blob.presence.refute(new LayerswarmError('DIGEST_MISMATCH', { detail: digest }))
    this.#blobs.delete(digest)
  }

  /** Whoever waits for more of anything hears why there is none. */
  failAll(why: unknown): void {
    for (const { blob } of this.#blobs.values()) blob.presence.fail(why)
  }

  async releaseAll(): Promise<void> {
    await Promise.all([...this.#blobs.values()].map(({ ingest }) => ingest?.release()))
  }

  #dropUnused(use: InUse): void {
    const { digest } = use.blob
    if (use.readers === 0 && !use.writing && this.#blobs.get(digest) === use) this.#blobs.delete(digest)
  }
}
