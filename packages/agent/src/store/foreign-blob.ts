import { constants } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { layoutOf } from '@layerswarm/core/piece-layout.ts'
import type { BlobReader, ForeignFile } from '../ports.ts'
import { FsBlobReader } from './blob-handles.ts'
import { errnoOf } from './disk-errors.ts'
import { FsBlob } from './fs-blob.ts'

/** A file and the state it is in: another after any write to it, or when another file takes its place. */
export type FileIdentity = string

interface Facts {
  readonly dev: bigint
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: Facts): FileIdentity {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
}

/**
 * @returns which file it is, and when it was last written (ms since the epoch); undefined where there is no such file,
 *   one of another size, or a symbolic link, which {@link ForeignBlob.open} does not follow
 * @throws what the file system throws, as EACCES
 */
export async function identify({ path, size }: ForeignFile): Promise<{ identity: FileIdentity; writtenAt: number } | undefined> {
  try {
    const facts = await lstat(path, { bigint: true })
    if (!facts.isFile() || facts.size !== BigInt(size)) return undefined
    return { identity: identityOf(facts), writtenAt: Number(facts.mtimeMs) }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** An open foreign file: it stays readable, whatever becomes of its name. */
export class ForeignBlob {
  readonly identity: FileIdentity
  readonly #blob: FsBlob
  readonly #handle: FileHandle

  private constructor(file: ForeignFile, identity: FileIdentity, handle: FileHandle) {
    this.identity = identity
    this.#handle = handle
    const files = { blob: () => file.path, partial: () => file.path }
    // Its own handle, not one of the pool's: what is closed in between may not be there to be opened again.
    const pool = { use: <T>(_key: string, _path: string, _flags: number, work: (file: FileHandle) => Promise<T>) => work(handle) }
    this.#blob = new FsBlob({ files, pool }, file.digest, layoutOf(file.size), { complete: true })
  }

  /** @returns undefined where there is no such file. @throws what the file system throws, as EACCES */
  static async open(file: ForeignFile): Promise<ForeignBlob | undefined> {
    let handle: FileHandle
    try {
      handle = await open(file.path, constants.O_RDONLY | constants.O_NOFOLLOW)
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined
      throw error
    }
    try {
      return new ForeignBlob(file, identityOf(await handle.stat({ bigint: true })), handle)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /**
   * @param deps.map of all its pieces
   * @param deps.released told once the reader is disposed
   */
  reader({ map, released }: { readonly map: () => Promise<Uint8Array | undefined>; readonly released: () => void }): BlobReader {
    const release = async (): Promise<void> => {
      released()
      await this.close()
    }
    return new FsBlobReader({ use: { blob: this.#blob, ingest: undefined }, map, release })
  }

  /** It is not what it should be: who reads it may not go on. */
  refute(error: unknown): void {
    this.#blob.presence.refute(error)
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}
