import { createReadStream } from 'node:fs'
import { lstat, realpath } from 'node:fs/promises'
import { join, normalize, sep } from 'node:path'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable } from '../ports.ts'

/** Bytes read at a time. */
const CHUNK_BYTES = 1024 * 1024
/** Longest document (index.json, manifest.json) that is read whole. */
const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024

/** Files by their path below some root, wherever that is. */
export interface Files {
  /** Bytes; undefined where there is no such file. */
  size(path: string): Promise<number | undefined>
  read(path: string, options?: Abortable & { readonly from?: number }): AsyncIterable<Uint8Array>
}

/** @throws {LayerswarmError} SOURCE_INVALID when it is missing, too long, or no JSON */
export async function readJson(files: Files, path: string): Promise<unknown> {
  const size = await files.size(path)
  if (size === undefined) throw new LayerswarmError('SOURCE_INVALID', { detail: `there is no ${path}` })
  if (size > MAX_DOCUMENT_BYTES) throw new LayerswarmError('SOURCE_INVALID', { detail: `${path} has ${size} bytes` })
  const text = Buffer.concat(await Array.fromAsync(files.read(path))).toString()
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new LayerswarmError('SOURCE_INVALID', { detail: `${path} is not JSON`, cause })
  }
}

/** The files of a directory. */
export class DirectoryFiles implements Files {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  async size(path: string): Promise<number | undefined> {
    try {
      const target = await this.#inside(path)
      const stat = await lstat(target)
      return stat.isFile() ? stat.size : undefined
    } catch (error) {
      if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return undefined
      throw new LayerswarmError('SOURCE_INVALID', { detail: join(this.#root, path), cause: error })
    }
  }

  async *read(path: string, { from = 0, signal }: Abortable & { readonly from?: number } = {}): AsyncGenerator<Uint8Array> {
    try {
      yield* createReadStream(await this.#inside(path), {
        start: from,
        highWaterMark: CHUNK_BYTES,
        ...(signal === undefined ? {} : { signal })
      })
    } catch (error) {
      signal?.throwIfAborted()
      throw isLayerswarmError(error) ? error : new LayerswarmError('SOURCE_INVALID', { detail: join(this.#root, path), cause: error })
    }
  }

  /** A layout from elsewhere must not point out of itself. */
  async #inside(path: string): Promise<string> {
    const root = await realpath(this.#root)
    const target = await realpath(join(root, normalize(path)))
    if (target.startsWith(root + sep)) return target
    throw new LayerswarmError('SOURCE_INVALID', { detail: `${path} leads out of ${this.#root}` })
  }
}
