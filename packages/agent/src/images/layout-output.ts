/** OCI image layouts as outputs (image-spec, image-layout.md): a directory, or a tar archive of one. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { algorithmOf, hexOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { syncFolder } from '@layerswarm/core/sync-folder.ts'
import type { Abortable } from '../ports.ts'
import { TarWriter } from './tar-writer.ts'

const LAYOUT = '{"imageLayoutVersion":"1.0.0"}'
const NAME = 'org.opencontainers.image.ref.name'

export interface LayoutOutput extends AsyncDisposable {
  /** Whether it is there already, proven by its digest. */
  has(content: Descriptor, options?: Abortable): Promise<boolean>
  put(content: Descriptor, bytes: AsyncIterable<Uint8Array>): Promise<void>
  /** Names the image. Nothing counts before. */
  finish(image: Descriptor): Promise<void>
}

function pathOf({ digest }: Descriptor): string {
  return `blobs/${algorithmOf(digest)}/${hexOf(digest)}`
}

function indexOf(manifests: readonly object[]): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests })
}

/** A directory: new, or a layout to which the image is added. An image of the same name is replaced in its index. */
export class LayoutDirectory implements LayoutOutput {
  readonly #root: string
  /** Folders with new names in them. */
  readonly #changed = new Set<string>()

  private constructor(root: string) {
    this.#root = root
  }

  /** @throws {LayerswarmError} OUTPUT_FAILED for a directory that holds something else */
  static async open(root: string): Promise<LayoutDirectory> {
    await mkdir(root, { recursive: true })
    const there = await readdir(root)
    if (there.length > 0 && !there.includes('oci-layout')) {
      throw new LayerswarmError('OUTPUT_FAILED', { detail: `${root} is neither empty nor an image layout` })
    }
    await writeFile(join(root, 'oci-layout'), LAYOUT, { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    return new LayoutDirectory(root)
  }

  async has(content: Descriptor, options: Abortable = {}): Promise<boolean> {
    const path = join(this.#root, pathOf(content))
    const found = await stat(path).catch(() => undefined)
    if (found?.isFile() !== true || found.size !== content.size) return false
    // An earlier export may have been cut off with the machine.
    const hash = createHash(algorithmOf(content.digest))
    await pipeline(createReadStream(path), hash, options)
    return hash.digest('hex') === hexOf(content.digest)
  }

  async put(content: Descriptor, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const path = join(this.#root, pathOf(content))
    await mkdir(dirname(path), { recursive: true })
    await this.#replace(path, bytes)
  }

  async finish(image: Descriptor): Promise<void> {
    const path = join(this.#root, 'index.json')
    const name = image.annotations?.[NAME]
    const others = (await this.#listed(path)).filter(({ digest, annotations }) =>
      name === undefined ? digest !== image.digest : annotations?.[NAME] !== name
    )
    // What is named has to be there first.
    await this.#sync()
    await this.#replace(path, text(indexOf([...others, image])))
    await this.#sync()
  }

  /** In one step, which a crash of the machine leaves done or not done. */
  async #replace(path: string, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const part = `${path}.part`
    try {
      {
        await using file = await open(part, 'w')
        await file.writeFile(bytes)
        await file.sync()
      }
      await rename(part, path)
      this.#changed.add(dirname(path))
    } finally {
      await rm(part, { force: true })
    }
  }

  async #sync(): Promise<void> {
    const blobs = join(this.#root, 'blobs')
    for (const folder of [...this.#changed, blobs, this.#root, dirname(this.#root)]) await syncFolder(folder)
    this.#changed.clear()
  }

  async #listed(path: string): Promise<readonly Descriptor[]> {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      return indexOf([])
    })
    const { manifests } = JSON.parse(text)
    if (!Array.isArray(manifests)) throw new LayerswarmError('OUTPUT_FAILED', { detail: `${path} is not the index of an image layout` })
    return manifests
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A tar archive of a layout with this one image. */
export class LayoutArchive implements LayoutOutput {
  readonly #tar: TarWriter
  readonly #written = new Set<string>()

  private constructor(tar: TarWriter) {
    this.#tar = tar
  }

  static async open(path: string): Promise<LayoutArchive> {
    return new LayoutArchive(await TarWriter.open(path))
  }

  async has(content: Descriptor): Promise<boolean> {
    return this.#written.has(pathOf(content))
  }

  async put(content: Descriptor, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    await this.#tar.add(pathOf(content), bytes)
    this.#written.add(pathOf(content))
  }

  async finish(image: Descriptor): Promise<void> {
    await this.#tar.add('oci-layout', text(LAYOUT))
    await this.#tar.add('index.json', text(indexOf([image])))
    await this.#tar.finish()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tar[Symbol.asyncDispose]()
  }
}

async function* text(content: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(content)
}
