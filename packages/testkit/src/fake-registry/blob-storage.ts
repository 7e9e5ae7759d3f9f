import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { algorithmOf, type Digest } from '@layerswarm/core/digest.ts'

/** Bytes are read in pieces of this size, so that a slow reader holds little memory. */
const READ_CHUNK = 256 * 1024

export interface StoredBlob {
  readonly size: number
  /** Bytes `start … end - 1`. */
  read(start: number, end: number): AsyncIterable<Uint8Array>
}

/** Content on its way in. */
export interface BlobUpload {
  readonly size: number
  append(chunks: AsyncIterable<Uint8Array>): Promise<void>
  /** Keeps the content when it matches `digest`. @returns whether it did; the upload is over either way. */
  commit(digest: Digest): Promise<boolean>
  discard(): Promise<void>
}

export interface BlobStorage {
  get(digest: Digest): StoredBlob | undefined
  begin(): Promise<BlobUpload>
}

class MemoryBlob implements StoredBlob {
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get size(): number {
    return this.#bytes.byteLength
  }

  async *read(start: number, end: number): AsyncIterable<Uint8Array> {
    for (let at = start; at < end; at += READ_CHUNK) yield this.#bytes.subarray(at, Math.min(end, at + READ_CHUNK))
  }
}

class MemoryUpload implements BlobUpload {
  readonly #blobs: Map<Digest, StoredBlob>
  #chunks: Uint8Array[] = []
  size = 0

  constructor(blobs: Map<Digest, StoredBlob>) {
    this.#blobs = blobs
  }

  async append(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of chunks) {
      this.#chunks.push(chunk)
      this.size += chunk.byteLength
    }
  }

  async commit(digest: Digest): Promise<boolean> {
    const bytes = Buffer.concat(this.#chunks)
    this.#chunks = []
    if (!digest.endsWith(createHash(algorithmOf(digest)).update(bytes).digest('hex'))) return false
    this.#blobs.set(digest, new MemoryBlob(bytes))
    return true
  }

  async discard(): Promise<void> {
    this.#chunks = []
  }
}

export function memoryStorage(): BlobStorage {
  const blobs = new Map<Digest, StoredBlob>()
  return { get: (digest) => blobs.get(digest), begin: async () => new MemoryUpload(blobs) }
}

class FileUpload implements BlobUpload {
  readonly #blobs: Map<Digest, StoredBlob>
  readonly #dir: string
  readonly #path: string
  readonly #file: FileHandle
  size = 0

  constructor(blobs: Map<Digest, StoredBlob>, dir: string, path: string, file: FileHandle) {
    this.#blobs = blobs
    this.#dir = dir
    this.#path = path
    this.#file = file
  }

  async append(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of chunks) {
      await this.#file.write(chunk, 0, chunk.byteLength, this.size)
      this.size += chunk.byteLength
    }
  }

  async commit(digest: Digest): Promise<boolean> {
    await this.#file.close()
    const hash = createHash(algorithmOf(digest))
    for await (const chunk of createReadStream(this.#path, { highWaterMark: READ_CHUNK })) hash.update(chunk)
    if (!digest.endsWith(hash.digest('hex'))) {
      await rm(this.#path, { force: true })
      return false
    }
    const path = join(this.#dir, digest.replace(':', '-'))
    await rename(this.#path, path)
    const { size } = this
    this.#blobs.set(digest, {
      size,
      read: (start, end) =>
        start === end
          ? new MemoryBlob(new Uint8Array()).read(0, 0)
          : createReadStream(path, { start, end: end - 1, highWaterMark: READ_CHUNK })
    })
    return true
  }

  async discard(): Promise<void> {
    await this.#file.close()
    await rm(this.#path, { force: true })
  }
}

/** Keeps blobs in files under `dir`: for content too large for memory. What an earlier process left there is not read. */
export function directoryStorage(dir: string): BlobStorage {
  const blobs = new Map<Digest, StoredBlob>()
  return {
    get: (digest) => blobs.get(digest),
    begin: async () => {
      await mkdir(dir, { recursive: true })
      const path = join(dir, `upload-${randomUUID()}`)
      return new FileUpload(blobs, dir, path, await open(path, 'wx'))
    }
  }
}
