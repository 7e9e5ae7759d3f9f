import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncFolder } from '@layerswarm/core/sync-folder.ts'
import { TAR_END, tarHeader, tarPadding } from './tar.ts'

/** Writes a tar archive. It is at its place only once it is whole; disposed before that, nothing is left. */
export class TarWriter implements AsyncDisposable {
  readonly #path: string
  readonly #file: FileHandle
  #at = 0
  #done = false

  private constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
  }

  static async open(path: string): Promise<TarWriter> {
    return new TarWriter(path, await open(partOf(path), 'w'))
  }

  /** Adds a file, whose size shows only once all of it was written. @returns its bytes */
  async add(name: string, content: AsyncIterable<Uint8Array>): Promise<number> {
    const header = this.#at
    await this.#write(tarHeader(name, 0))
    const start = this.#at
    for await (const chunk of content) await this.#write(chunk)
    const size = this.#at - start
    await this.#file.write(tarHeader(name, size), 0, undefined, header)
    await this.#write(tarPadding(size))
    return size
  }

  /** Ends the archive and puts it at its place, over what was there. */
  async finish(): Promise<void> {
    await this.#write(TAR_END)
    await this.#file.sync()
    await this.#file.close()
    await rename(partOf(this.#path), this.#path)
    this.#done = true
    await syncFolder(dirname(this.#path))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#done) return
    await this.#file.close().catch(() => undefined)
    await rm(partOf(this.#path), { force: true })
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.byteLength - done, this.#at)
      done += bytesWritten
      this.#at += bytesWritten
    }
  }
}

function partOf(path: string): string {
  return `${path}.part`
}
