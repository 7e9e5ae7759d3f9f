import { Worker } from 'node:worker_threads'
import { algorithmOf, type Digest, hexOf, PIECE_HASH_BYTES } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type PieceLayout, pieceLength, pieceStart } from '@layerswarm/core/piece-layout.ts'
import { diskError } from './disk-errors.ts'
import type { HashAnswer, HashJob } from './hash-worker.ts'

/** Most bytes of one job, so that blobs that complete at the same time take turns (about 8 ms each). */
const JOB_BYTES = 16 * 1024 * 1024
/** A frontier that moved by less is not worth a message yet; also what is left to hash, at most, when the last piece lands. */
const WORTHWHILE_BYTES = 4 * 1024 * 1024

/** Beside this file in the sources, and beside the bundle where this file is part of one. */
const WORKER = new URL(import.meta.url.endsWith('.ts') ? './hash-worker.ts' : './hash-worker.js', import.meta.url)

type Distribute<T> = T extends unknown ? Omit<T, 'job'> : never
type Unnumbered = Distribute<HashJob>

interface Waiting {
  readonly resolve: (answer: HashAnswer) => void
  readonly reject: (error: unknown) => void
}

/** The one thread of the store that re-reads and hashes files, apart from the main loop. Starts at its first job. */
export class HashThread {
  readonly #script: URL
  #worker: Worker | undefined
  readonly #waiting = new Map<number, Waiting>()
  #jobs = 0
  #hashes = 0
  #closed = false

  /** @param options.script the file that the thread runs */
  constructor(options: { script?: URL } = {}) {
    this.#script = options.script ?? WORKER
  }

  whole(digest: Digest, path: string): WholeHash {
    return new WholeHash((job) => this.#run(job), { id: ++this.#hashes, digest, path })
  }

  /**
   * SHA-256 of each of `pieces` as they are on disk, in order, 32 bytes each; all zero where the file ends early.
   * @throws {LayerswarmError} STORE_FAILED
   */
  async pieces(path: string, layout: PieceLayout, pieces: readonly number[]): Promise<Uint8Array> {
    const hashes = new Uint8Array(pieces.length * PIECE_HASH_BYTES)
    const perJob = Math.max(1, Math.floor(JOB_BYTES / layout.pieceSize))
    for (let at = 0; at < pieces.length; at += perJob) {
      const ranges = pieces.slice(at, at + perJob).map((piece) => {
        const start = pieceStart(layout, piece)
        return [start, start + pieceLength(layout, piece)] as const
      })
      const answer = await this.#run({ kind: 'pieces', path, ranges })
      if (answer.hashes !== undefined) hashes.set(answer.hashes, at * PIECE_HASH_BYTES)
    }
    return hashes
  }

  /**
   * Whether a file of `size` bytes has `digest`, read from its front.
   * @param options.onProgress told the bytes hashed so far; what it returns is waited for before more are
   * @throws {LayerswarmError} STORE_FAILED, also for a file that is shorter; the signal's reason
   */
  async proves(
    path: string,
    digest: Digest,
    size: number,
    options: { signal?: AbortSignal; onProgress?: (bytes: number) => void | Promise<void> } = {}
  ): Promise<boolean> {
    const id = ++this.#hashes
    const algorithm = algorithmOf(digest)
    try {
      for (let start = 0; start < size; start += JOB_BYTES) {
        options.signal?.throwIfAborted()
        const end = Math.min(size, start + JOB_BYTES)
        await this.#run({ kind: 'update', id, algorithm, path, start, end })
        await options.onProgress?.(end)
      }
      return (await this.#run({ kind: 'digest', id, algorithm, end: size })).hex === hexOf(digest)
    } catch (error) {
      if (!this.#closed) await this.#run({ kind: 'drop', id }).catch(() => {})
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    await this.#worker?.terminate()
    this.#fail(new LayerswarmError('STORE_FAILED', { detail: 'the store is closed' }))
  }

  async #run(job: Unnumbered): Promise<HashAnswer> {
    if (this.#closed) throw new LayerswarmError('STORE_FAILED', { detail: 'the store is closed' })
    this.#worker ??= this.#start()
    const worker = this.#worker
    const number = ++this.#jobs
    try {
      // A thread with nothing to do must not keep the process alive; one with work must.
      worker.ref()
      const answer = await new Promise<HashAnswer>((resolve, reject) => {
        this.#waiting.set(number, { resolve, reject })
        worker.postMessage({ ...job, job: number } satisfies HashJob)
      })
      if (answer.error === undefined) return answer
      throw diskError(Object.assign(new Error(answer.error.message), { code: answer.error.code }))
    } finally {
      this.#waiting.delete(number)
      if (this.#waiting.size === 0) worker.unref()
    }
  }

  #start(): Worker {
    const worker = new Worker(this.#script)
    worker.unref()
    worker.on('message', (answer: HashAnswer) => this.#waiting.get(answer.job)?.resolve(answer))
    const ended = (cause?: unknown): void => {
      if (this.#worker !== worker) return
      // Running hashes died with it: their next job finds itself out of step in a new thread, and starts from the front.
      this.#worker = undefined
      this.#fail(new LayerswarmError('STORE_FAILED', { detail: 'the hashing thread ended', cause }))
    }
    worker.on('error', ended)
    worker.on('exit', () => ended())
    return worker
  }

  #fail(error: unknown): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

/** The digest of a whole blob, computed behind the frontier up to which all of its pieces are there. */
export class WholeHash {
  readonly #run: (job: Unnumbered) => Promise<HashAnswer>
  readonly #options: { readonly id: number; readonly digest: Digest; readonly path: string }
  /** Bytes hashed or being hashed. */
  #hashed = 0
  #work: Promise<void> | undefined
  #stopping = false

  constructor(run: (job: Unnumbered) => Promise<HashAnswer>, options: { id: number; digest: Digest; path: string }) {
    this.#run = run
    this.#options = options
  }

  /** All bytes before `frontier` are in the file: hashes on in the background where that is worth it. */
  advance(frontier: number): void {
    if (this.#work !== undefined || frontier - this.#hashed < WORTHWHILE_BYTES) return
    this.#work = this.#hashUntil(frontier)
      // A failure here shows again when the digest is asked for.
      .catch(() => this.reset())
      .finally(() => {
        this.#work = undefined
      })
  }

  /** Bytes that are hashed or being hashed: none before this may change without a {@link reset}. */
  get hashed(): number {
    return this.#hashed
  }

  /** Forgets what was hashed. To be called while nothing is under way. */
  async reset(): Promise<void> {
    if (this.#hashed === 0) return
    this.#hashed = 0
    await this.#run({ kind: 'drop', id: this.#options.id }).catch(() => {})
  }

  /** Resolves once no background work is under way: it ends with the job that runs. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#work
    this.#stopping = false
  }

  /** Whether the file's first `size` bytes have the digest. @throws {LayerswarmError} STORE_FAILED */
  async matches(size: number): Promise<boolean> {
    await this.stop()
    try {
      return await this.#digest(size)
    } catch {
      // The thread may have ended and taken the running hash with it; a disk that fails does so again.
      await this.reset()
      return await this.#digest(size)
    } finally {
      await this.reset()
    }
  }

  async #digest(size: number): Promise<boolean> {
    const { id, digest } = this.#options
    await this.#hashUntil(size)
    const { hex } = await this.#run({ kind: 'digest', id, algorithm: algorithmOf(digest), end: size })
    this.#hashed = 0
    return hex === hexOf(digest)
  }

  async #hashUntil(end: number): Promise<void> {
    const { id, digest, path } = this.#options
    while (this.#hashed < end && !this.#stopping) {
      const start = this.#hashed
      this.#hashed = Math.min(end, start + JOB_BYTES)
      await this.#run({ kind: 'update', id, algorithm: algorithmOf(digest), path, start, end: this.#hashed })
    }
  }
}
