import { type FileHandle, open } from 'node:fs/promises'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable } from '../ports.ts'
import type { Files } from './files.ts'
import { type TarEntry, tarEntries } from './tar.ts'

const CHUNK_BYTES = 1024 * 1024
/** Links that lead to links. */
const MAX_LINKS = 8

/** The files of a tar archive, read where they lie. */
class TarFiles implements Files, AsyncDisposable {
  readonly #file: FileHandle
  readonly #entries: ReadonlyMap<string, TarEntry>

  constructor(file: FileHandle, entries: ReadonlyMap<string, TarEntry>) {
    this.#file = file
    this.#entries = entries
  }

  async size(path: string): Promise<number | undefined> {
    return this.#find(path)?.size
  }

  async *read(path: string, { from = 0, signal }: Abortable & { readonly from?: number } = {}): AsyncGenerator<Uint8Array> {
    const entry = this.#find(path)
    if (entry === undefined) throw new LayerswarmError('SOURCE_INVALID', { detail: `there is no ${path}` })
    const end = entry.start + entry.size
    for (let at = entry.start + from; at < end; ) {
      signal?.throwIfAborted()
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - at))
      const { bytesRead } = await this.#file.read(chunk, 0, chunk.byteLength, at)
      if (bytesRead === 0) throw new LayerswarmError('SOURCE_INVALID', { detail: 'the archive became shorter' })
      yield chunk.subarray(0, bytesRead)
      at += bytesRead
    }
  }

  #find(path: string): TarEntry | undefined {
    let entry = this.#entries.get(path.replace(/^\.?\/+/, ''))
    for (let links = 0; entry?.link !== undefined && links < MAX_LINKS; links++) entry = this.#entries.get(entry.link)
    return entry?.link === undefined ? entry : undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }
}

/** @throws {LayerswarmError} SOURCE_INVALID */
export async function openTar(path: string): Promise<Files & AsyncDisposable> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw new LayerswarmError('SOURCE_INVALID', { detail: path, cause })
  })
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw new LayerswarmError('SOURCE_INVALID', { detail: `${path} is no file` })
    const entries = new Map<string, TarEntry>()
    for await (const entry of tarEntries(file, stat.size)) entries.set(entry.path, entry)
    return new TarFiles(file, entries)
  } catch (error) {
    await file.close()
    throw error
  }
}
