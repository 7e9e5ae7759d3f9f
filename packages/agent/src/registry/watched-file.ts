import { readFile, stat } from 'node:fs/promises'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Logger } from '@layerswarm/core/log.ts'

/** How long a look at a file counts, ms: many requests start at once, and a changed password may wait this long. */
const LOOK_MS = 1_000
/** Files of settings are small; what is larger is something else. */
const MAX_FILE_BYTES = 4 * 1024 * 1024

export interface WatchedFileDeps {
  readonly clock: Clock
  readonly log: Pick<Logger, 'warn'>
}

export interface WatchedFileOptions {
  /** Somebody named the file: that it is not there is worth a line, too. */
  readonly expected?: boolean
}

/** What a file says, read again whenever it has changed. A file that cannot be used says nothing, and the log says why once. */
export class WatchedFile<T> {
  readonly path: string
  readonly #deps: WatchedFileDeps
  readonly #parse: (content: string) => T
  readonly #expected: boolean
  #version = ''
  #lookedAt = Number.NEGATIVE_INFINITY
  #value: Promise<T | undefined> = Promise.resolve(undefined)

  /** @param parse reads the content; the message of what it throws is logged, so it must not repeat secrets */
  constructor(path: string, parse: (content: string) => T, deps: WatchedFileDeps, { expected = false }: WatchedFileOptions = {}) {
    this.path = path
    this.#expected = expected
    this.#parse = parse
    this.#deps = deps
  }

  /** Undefined for a file that is not there or not usable. */
  async current(): Promise<T | undefined> {
    const now = this.#deps.clock.now()
    if (now - this.#lookedAt >= LOOK_MS) {
      this.#lookedAt = now
      this.#value = this.#look(this.#value)
    }
    return await this.#value
  }

  async #look(last: Promise<T | undefined>): Promise<T | undefined> {
    const before = await last
    try {
      const facts = await stat(this.path)
      const { ino, size, mtimeMs, ctimeMs } = facts
      const version = [ino, size, mtimeMs, ctimeMs].join()
      if (version === this.#version) return before
      this.#version = version
      // Reading a pipe would wait for whoever writes to it.
      if (!facts.isFile()) throw new Error('not a regular file')
      if (size > MAX_FILE_BYTES) throw new Error(`larger than ${MAX_FILE_BYTES} bytes`)
      return this.#parse(await readFile(this.path, 'utf8'))
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
      const silent = !this.#expected && (code === 'ENOENT' || code === 'ENOTDIR')
      if (!silent && (code === undefined || this.#version !== code)) {
        const reason = code ?? (error instanceof Error ? error.message : 'not readable')
        this.#deps.log.warn({ file: this.path, reason }, 'file is not used')
      }
      if (code !== undefined) this.#version = code
      return undefined
    }
  }
}
