import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { z } from 'zod'
import type { FileOps } from './file-ops.ts'
import { absent, sha256 } from './locate.ts'

const MANIFEST = 'manifest.json'
const OWNER_ONLY = { mode: 0o600 }

const hash = z.string().regex(/^[0-9a-f]{64}$/)

const recordedFile = z.object({
  path: z.string(),
  /** SHA-256 of what was there; null for no file. */
  before: hash.nullable(),
  /** SHA-256 of what was written on top of that: the last, and while an install runs also the one to come. */
  after: z.array(hash),
  /** Permission bits that the file had; null for no file. */
  mode: z.number().nullable()
})
export type RecordedFile = z.infer<typeof recordedFile>

const recordSchema = z.object({
  version: z.literal(1),
  /** What was asked for; null while nothing is installed. */
  settings: z.object({ mirrorUrl: z.string(), registries: z.array(z.string()), onlyRegistries: z.boolean() }).nullable(),
  /** What files may name: that mirror, and while an install runs also the one before. */
  mirrorUrls: z.array(z.string()),
  /** Folders that did not exist before. */
  createdDirs: z.array(z.string()),
  files: z.array(recordedFile)
})
export type RecordData = z.infer<typeof recordSchema>

const EMPTY_RECORD: RecordData = { version: 1, settings: null, mirrorUrls: [], createdDirs: [], files: [] }

/**
 * What was changed on this host and what was there before: `manifest.json` beside a copy of each original, named by
 * its SHA-256, in a folder under the data directory. It is written before the files themselves, so that it is true of
 * them at every moment.
 */
export class SetupRecord {
  readonly dir: string
  readonly #ops: FileOps

  constructor(dir: string, ops: FileOps) {
    this.dir = dir
    this.#ops = ops
  }

  /** @throws {LayerswarmError} SETUP_FAILED when it is there but cannot be read */
  async read(): Promise<RecordData> {
    const path = join(this.dir, MANIFEST)
    try {
      const text = await readFile(path, 'utf8').catch(absent)
      return text === undefined ? EMPTY_RECORD : recordSchema.parse(JSON.parse(text))
    } catch (cause) {
      throw new LayerswarmError('SETUP_FAILED', { detail: path, cause })
    }
  }

  /** @returns undefined when the copy is gone or damaged */
  async original(digest: string): Promise<string | undefined> {
    const text = await readFile(join(this.dir, digest), 'utf8').catch(absent)
    return text !== undefined && sha256(text) === digest ? text : undefined
  }

  async keepOriginal(text: string): Promise<void> {
    await this.#ops.replace(join(this.dir, sha256(text)), text, OWNER_ONLY)
  }

  async write(data: RecordData): Promise<void> {
    await this.#ops.replace(join(this.dir, MANIFEST), `${JSON.stringify(data, null, 2)}\n`, OWNER_ONLY)
  }

  /** Removes what `data` does not name, also what a crash left behind; without files, all of it. */
  async tidy(data: RecordData): Promise<void> {
    const needed = new Set(data.files.map(({ before }) => before))
    const names = (await readdir(this.dir).catch(absent)) ?? []
    // The manifest last: as long as it is there, it tells the next run what to do.
    for (const name of names) if (name !== MANIFEST && !needed.has(name)) await this.#ops.remove(join(this.dir, name))
    if (data.files.length > 0) return
    await this.#ops.remove(join(this.dir, MANIFEST))
    if (await this.#ops.removeDir(this.dir)) await this.#ops.removeDir(dirname(this.dir))
  }
}
