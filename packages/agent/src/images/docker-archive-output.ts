import { createHash } from 'node:crypto'
import type { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { hexOf, isDigest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { Exported } from './exported.ts'
import { readDocument } from './read-source.ts'
import { TarWriter } from './tar-writer.ts'
import { isForeign } from './walk.ts'

/** `docker load` finds the image's parts by this list; layers lie there uncompressed. */
interface Listed {
  readonly Config: string
  readonly RepoTags: readonly string[] | null
  readonly Layers: readonly string[]
}

/**
 * Writes what `docker save` would: a configuration, plain layers, and manifest.json.
 * @throws {LayerswarmError} OUTPUT_FAILED for what is no container image of one platform
 */
export async function writeDockerArchive(exported: Exported, path: string): Promise<void> {
  const [leaf, ...others] = exported.leaves
  const config = leaf?.manifest.config
  if (leaf === undefined || config === undefined || others.length > 0)
    throw unfit('it holds one image of one platform: name it with --platform')
  const document = await readDocument(exported.source, config)
  const diffIds = diffIdsOf(document)
  const { layers } = leaf.manifest
  if (diffIds === undefined || diffIds.length !== layers.length || layers.some(isForeign)) throw unfit('this is no container image')
  await using tar = await TarWriter.open(path)
  const names: string[] = []
  for (const [at, layer] of layers.entries()) {
    const hex = diffIds[at] ?? ''
    const name = `${hex}.tar`
    if (!names.includes(name)) await tar.add(name, proven(plain(exported, layer), hex))
    names.push(name)
  }
  const configName = `${hexOf(config.digest)}.json`
  await tar.add(configName, only(document))
  const { name } = exported
  const listed: Listed = { Config: configName, RepoTags: name === undefined ? null : [name], Layers: names }
  await tar.add('manifest.json', only(Buffer.from(JSON.stringify([listed]))))
  await tar.finish()
}

/** Digests of the uncompressed layers, in hex; undefined for a configuration that is no image's. */
function diffIdsOf(config: Uint8Array): string[] | undefined {
  try {
    const ids: unknown = JSON.parse(Buffer.from(config).toString())?.rootfs?.diff_ids
    if (!Array.isArray(ids)) return undefined
    return ids.every((id) => typeof id === 'string' && isDigest(id) && id.startsWith('sha256:')) ? ids.map(hexOf) : undefined
  } catch {
    return undefined
  }
}

function plain(exported: Exported, layer: Descriptor): AsyncIterable<Uint8Array> {
  const bytes = exported.read(layer)
  if (layer.mediaType.endsWith('gzip')) return unpacked(bytes, createGunzip())
  if (layer.mediaType.endsWith('zstd')) return unpacked(bytes, createZstdDecompress())
  return bytes
}

async function* unpacked(bytes: AsyncIterable<Uint8Array>, unpack: Transform): AsyncGenerator<Uint8Array> {
  const fed = pipeline(bytes, unpack)
  // It fails as the reading below does, or after it: content may be wrong beyond where a compressed stream ends.
  fed.catch(() => undefined)
  try {
    yield* unpack
  } finally {
    unpack.destroy()
  }
  await fed
}

async function* proven(bytes: AsyncIterable<Uint8Array>, hex: string): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  for await (const chunk of bytes) {
    hash.update(chunk)
    yield chunk
  }
  if (hash.digest('hex') !== hex) throw unfit('a layer does not unpack to what the configuration says')
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

function unfit(why: string): LayerswarmError {
  return new LayerswarmError('OUTPUT_FAILED', { detail: why })
}
