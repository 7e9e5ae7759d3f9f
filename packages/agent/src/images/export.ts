/** Writes an image into files that other container tools read. */

import { createHash } from 'node:crypto'
import { algorithmOf, hexOf } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor, Platform } from '@layerswarm/core/image/manifest.ts'
import { hostPlatform } from '@layerswarm/core/image/platform.ts'
import type { Abortable, ImageSource } from '../ports.ts'
import { writeDockerArchive } from './docker-archive-output.ts'
import type { Exported } from './exported.ts'
import { LayoutArchive, LayoutDirectory, type LayoutOutput } from './layout-output.ts'
import { readDocument, walkSource } from './read-source.ts'
import { blobsOf, isForeign, type Leaf, selectLeaves, unique } from './walk.ts'

export interface OutputName {
  readonly kind: 'oci' | 'oci-archive' | 'docker-archive'
  readonly path: string
}

/** Reads `oci:DIR`, `oci-archive:FILE` or `docker-archive:FILE`. @throws {LayerswarmError} OUTPUT_FAILED */
export function parseOutput(text: string): OutputName {
  const [, kind, path] = /^(oci|oci-archive|docker-archive):(.+)$/s.exec(text) ?? []
  if (path !== undefined && (kind === 'oci' || kind === 'oci-archive' || kind === 'docker-archive')) return { kind, path }
  throw new LayerswarmError('OUTPUT_FAILED', {
    detail: `${text.slice(0, 300)} is none of oci:DIR, oci-archive:FILE and docker-archive:FILE`
  })
}

export interface ExportProgress {
  readonly digest: Descriptor['digest']
  readonly size: number
  readonly bytes: number
  readonly done: boolean
}

export interface ExportOptions extends Abortable {
  /** The image's name, without a digest; undefined where it was asked for by digest alone. */
  readonly name?: string | undefined
  /** Whose layers to write (default this host's). */
  readonly platforms?: readonly Platform[] | 'all' | undefined
  readonly onProgress?: (progress: ExportProgress) => void
}

/**
 * @returns what the files name: the image's digest, or that of the one platform's manifest
 * @throws {LayerswarmError} OUTPUT_FAILED, PLATFORM_UNKNOWN, DIGEST_MISMATCH, SIZE_MISMATCH, and what the source throws
 */
export async function exportImage(source: ImageSource, { kind, path }: OutputName, options: ExportOptions): Promise<Descriptor> {
  const exported = await choose(source, options)
  try {
    if (kind === 'docker-archive') await writeDockerArchive(exported, path)
    else {
      await using output = kind === 'oci' ? await LayoutDirectory.open(path) : await LayoutArchive.open(path)
      await writeLayout(exported, output, options.signal === undefined ? {} : { signal: options.signal })
    }
  } catch (error) {
    options.signal?.throwIfAborted()
    throw isLayerswarmError(error) ? error : new LayerswarmError('OUTPUT_FAILED', { detail: path, cause: error })
  }
  return exported.root
}

async function choose(source: ImageSource, options: ExportOptions): Promise<Exported> {
  const { platforms = [hostPlatform()], signal, onProgress = () => undefined } = options
  const abortable: Abortable = signal === undefined ? {} : { signal }
  const walked = await walkSource(source, abortable)
  const leaves = await selectLeaves(walked, platforms, (leaf) => platformOf(source, leaf, abortable))
  const [only] = leaves
  const alone = platforms !== 'all' && leaves.length === 1 && only !== undefined
  const manifests = alone ? walked.manifests.filter(({ descriptor }) => descriptor.digest === only.named.digest) : walked.manifests
  const [first] = manifests
  if (first === undefined) throw new LayerswarmError('OUTPUT_FAILED', { detail: 'the image has no manifest' })
  const platform = alone ? only.named.platform : undefined
  return {
    source,
    root: { ...first.descriptor, ...(platform === undefined ? {} : { platform }) },
    manifests,
    leaves,
    name: options.name,
    async *read(content) {
      const { digest, size } = content
      const hash = createHash(algorithmOf(digest))
      let bytes = 0
      for await (const chunk of source.read(content, abortable)) {
        hash.update(chunk)
        bytes += chunk.byteLength
        if (bytes > size) throw new LayerswarmError('SIZE_MISMATCH', { detail: `${digest} has more than ${size} bytes` })
        yield chunk
        onProgress({ digest, size, bytes, done: false })
      }
      if (bytes < size) throw new LayerswarmError('SIZE_MISMATCH', { detail: `${digest} has fewer than ${size} bytes` })
      if (hash.digest('hex') !== hexOf(digest)) throw new LayerswarmError('DIGEST_MISMATCH', { detail: digest })
      onProgress({ digest, size, bytes, done: true })
    }
  }
}

async function platformOf(source: ImageSource, { manifest }: Leaf, options: Abortable): Promise<Platform | undefined> {
  if (manifest.config === undefined) return undefined
  try {
    const { os, architecture, variant } = JSON.parse(Buffer.from(await readDocument(source, manifest.config, options)).toString()) ?? {}
    return typeof os === 'string' && typeof architecture === 'string' ? { os, architecture, variant } : undefined
  } catch (error) {
    if (error instanceof SyntaxError || isLayerswarmError(error, 'MANIFEST_INVALID')) return undefined
    throw error
  }
}

async function writeLayout(exported: Exported, output: LayoutOutput, options: Abortable): Promise<void> {
  const { manifests, leaves, root, name } = exported
  const blobs = unique(leaves.flatMap(({ manifest }) => blobsOf(manifest))).filter((blob) => !isForeign(blob))
  for (const blob of blobs) if (!(await output.has(blob, options))) await output.put(blob, exported.read(blob))
  for (const { descriptor, bytes } of manifests) await output.put(descriptor, only(bytes))
  const annotations =
    name === undefined
      ? {}
      : { annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1) } }
  await output.finish({ ...root, ...annotations })
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
