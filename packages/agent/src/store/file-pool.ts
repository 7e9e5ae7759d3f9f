import { type FileHandle, open } from 'node:fs/promises'
import { LayerswarmError } from '@layerswarm/core/errors.ts'

interface OpenFile {
  readonly handle: Promise<FileHandle>
  users: number
  /** Set once the file shall close when its last user is done. */
  retire?: () => void
}

/**
 * Keeps files open between uses, least recently used closed first, so that any number of blobs can be read and written
 * with a bounded number of descriptors.
 */
export class FilePool {
  readonly #max: number
  /** In order of use, the latest last. */
  readonly #files = new Map<string, OpenFile>()
  readonly #waiting: (() => void)[] = []
  readonly #closing = new Set<Promise<void>>()
  #closed = false

  constructor(options: { maxOpen: number }) {
    this.#max = options.maxOpen
  }

  /**
   * Lends the file known as `key`, opened from `path` when it is not open yet. While lent it stays the same file, even
   * when it is renamed.
   * @throws {LayerswarmError} STORE_FAILED after the pool was closed; else what opening or `work` throws
   */
  async use<T>(key: string, path: string, flags: number, work: (file: FileHandle) => Promise<T>): Promise<T> {
    const file = await this.#acquire(key, path, flags)
    try {
      return await work(await file.handle)
    } catch (error) {
      if (this.#files.get(key) === file && file.users === 1) this.#files.delete(key)
      throw error
    } finally {
      file.users--
      if (file.users === 0) {
        if (this.#files.get(key) !== file) this.#close(file)
        else this.#wake()
      }
    }
  }

  /** Closes `key` once its users are done; a later use opens the path anew. */
  async forget(key: string): Promise<void> {
    const file = this.#files.get(key)
    if (file === undefined) return
    this.#files.delete(key)
    if (file.users > 0) await new Promise<void>((resolve) => (file.retire = resolve))
    else this.#close(file)
    await Promise.all(this.#closing)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    for (const wake of this.#waiting.splice(0)) wake()
    await Promise.all([...this.#files.keys()].map((key) => this.forget(key)))
    await Promise.all(this.#closing)
  }

  async #acquire(key: string, path: string, flags: number): Promise<OpenFile> {
    while (!this.#closed && !this.#files.has(key) && this.#files.size >= this.#max && !this.#closeIdle()) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    if (this.#closed) throw new LayerswarmError('STORE_FAILED', { detail: 'the store is closed' })
    const file = this.#files.get(key) ?? { handle: open(path, flags, 0o644), users: 0 }
    this.#files.delete(key)
    this.#files.set(key, file)
    file.users++
    return file
  }

  #closeIdle(): boolean {
    for (const [key, file] of this.#files) {
      if (file.users > 0) continue
      this.#files.delete(key)
      this.#close(file)
      return true
    }
    return false
  }

  #close(file: OpenFile): void {
    const closed = file.handle
      .then((handle) => handle.close())
      // A file that failed to open has nothing to close, and data is synced before anyone relies on it.
      .catch(() => {})
      .finally(() => {
        this.#closing.delete(closed)
        file.retire?.()
      })
    this.#closing.add(closed)
    this.#wake()
  }

  #wake(): void {
    this.#waiting.shift()?.()
  }
}
