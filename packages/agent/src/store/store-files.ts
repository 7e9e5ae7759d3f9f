import { constants, type Dirent } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { algorithmOf, type Digest, hexOf, isDigest } from '@layerswarm/core/digest.ts'
import { syncFolder } from '@layerswarm/core/sync-folder.ts'
import { errnoOf } from './disk-errors.ts'
import { parseSideFile, type SideRecord } from './side-file.ts'

const ALGORITHMS = ['sha256', 'sha512'] as const

/** Files of an OCI image layout (image-spec, image-layout.md); it names no image, for a cache has none of its own. */
const LAYOUT_FILES = {
  'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
  'index.json': '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
} as const

export const READ_FLAGS = constants.O_RDONLY
export const WRITE_FLAGS = constants.O_RDWR | constants.O_CREAT

export interface FoundBlob {
  readonly digest: Digest
  readonly size: number
  /** When the file was last written, ms since the epoch. */
  readonly writtenAt: number
}

export interface FoundPartial {
  readonly record: SideRecord
  readonly writtenAt: number
}

/** Where things lie in a data directory, and the few operations on whole files. */
export class StoreFiles {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  get index(): string {
    return join(this.#root, 'index')
  }

  blob(digest: Digest): string {
    return join(this.#root, 'blobs', algorithmOf(digest), hexOf(digest))
  }

  /** Data of a partial blob. */
  partial(digest: Digest): string {
    return join(this.#root, 'ingest', `${algorithmOf(digest)}-${hexOf(digest)}.data`)
  }

  /** What is known of a partial blob. */
  side(digest: Digest): string {
    return join(this.#root, 'ingest', `${algorithmOf(digest)}-${hexOf(digest)}.side`)
  }

  /** Data of a blob whose digest is not known yet: nothing of it outlives the process. */
  incoming(id: number): string {
    return join(this.#root, 'ingest', `${id}.incoming`)
  }

  async prepare(): Promise<void> {
    for (const algorithm of ALGORITHMS) await mkdir(join(this.#root, 'blobs', algorithm), { recursive: true })
    await mkdir(join(this.#root, 'ingest'), { recursive: true })
    for (const [name, content] of Object.entries(LAYOUT_FILES)) {
      const path = join(this.#root, name)
      if (((await sizeAt(path)) ?? 0) > 0) continue
      // In one step: a process that is killed in between would leave an empty one, which no tool reads.
      await writeFile(`${path}.new`, content)
      await rename(`${path}.new`, path)
    }
  }

  /** Moves synced data (of the partial, unless named) to its place, so that it is there whole or not at all after a crash of the machine. */
  async promote(digest: Digest, from: string = this.partial(digest)): Promise<void> {
    const to = this.blob(digest)
    await rename(from, to)
    await syncFolder(dirname(to))
    await rm(this.side(digest), { force: true })
  }

  /** Bytes of a blob's file; undefined where there is none. */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    return await sizeAt(this.blob(digest))
  }

  async removeIncoming(id: number): Promise<void> {
    await rm(this.incoming(id), { force: true })
  }

  async removeBlob(digest: Digest): Promise<void> {
    await rm(this.blob(digest), { force: true })
  }

  async removePartial(digest: Digest): Promise<void> {
    await rm(this.side(digest), { force: true })
    await rm(this.partial(digest), { force: true })
  }

  async *blobs(): AsyncGenerator<FoundBlob> {
    for (const algorithm of ALGORITHMS) {
      const directory = join(this.#root, 'blobs', algorithm)
      for (const entry of await readdir(directory, { withFileTypes: true })) {
        const digest = `${algorithm}:${entry.name}`
        if (!entry.isFile() || !isDigest(digest)) continue
        const { size, mtimeMs } = await stat(join(directory, entry.name))
        yield { digest, size, writtenAt: mtimeMs }
      }
    }
  }

  /** Partial blobs that an earlier process left; anything else under `ingest/` is removed. */
  async *partials(): AsyncGenerator<FoundPartial> {
    const directory = join(this.#root, 'ingest')
    const entries = await readdir(directory, { withFileTypes: true })
    const kept = new Set<string>()
    for (const entry of entries) {
      const found = entry.name.endsWith('.side') ? await this.#readPartial(directory, entry) : undefined
      if (found === undefined) continue
      kept.add(this.side(found.record.digest)).add(this.partial(found.record.digest))
      yield found
    }
    for (const { name } of entries) {
      const path = join(directory, name)
      if (!kept.has(path)) await rm(path, { recursive: true, force: true })
    }
  }

  async readSide(digest: Digest): Promise<SideRecord | undefined> {
    try {
      return parseSideFile(await readFile(this.side(digest)))
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined
      throw error
    }
  }

  async #readPartial(directory: string, entry: Dirent): Promise<FoundPartial | undefined> {
    const match = /^(sha256|sha512)-([0-9a-f]+)\.side$/.exec(entry.name)
    const digest = `${match?.[1]}:${match?.[2]}`
    if (!isDigest(digest)) return undefined
    const record = await this.readSide(digest)
    if (record === undefined || record.digest !== digest) return undefined
    const { mtimeMs } = await stat(join(directory, entry.name))
    return { record, writtenAt: mtimeMs }
  }
}

async function sizeAt(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}
