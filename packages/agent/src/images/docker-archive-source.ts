import { createHash } from 'node:crypto'
import { type Digest, digestOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { formatReference, parseReference } from '@layerswarm/core/image/reference.ts'
import { z } from 'zod'
import type { ImageSource } from '../ports.ts'
import { type Files, readJson } from './files.ts'

const listing = z.array(
  z.object({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()).max(1000).nullish() })
)
type Listed = z.infer<typeof listing>[number]

const CONFIG_TYPE = 'application/vnd.docker.container.image.v1+json'
const LAYER_TYPE = 'application/vnd.docker.image.rootfs.diff.tar'
/** First bytes of compressed layers: most archives hold plain ones, some tools leave them as they were. */
const COMPRESSIONS: readonly (readonly [magic: Buffer, suffix: string])[] = [
  [Buffer.from([0x1f, 0x8b]), '.gzip'],
  [Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), '.zstd']
]

/**
 * An image in an archive of `docker save` or skopeo: its configuration and layers as they are, under a manifest that is
 * made for them (Docker's schema 2).
 * @throws {LayerswarmError} SOURCE_INVALID
 */
export async function readDockerArchive(files: Files, image: string): Promise<Pick<ImageSource, 'root' | 'read'>> {
  const parsed = listing.safeParse(await readJson(files, 'manifest.json'))
  if (!parsed.success) throw new LayerswarmError('SOURCE_INVALID', { detail: 'manifest.json is not valid' })
  const { Config, Layers } = choose(parsed.data, image)
  const paths = new Map<Digest, string>()
  const describe = async (path: string, mediaType?: string): Promise<Descriptor> => {
    const described = await hashed(files, path, mediaType)
    paths.set(described.digest, path)
    return described
  }
  const config = await describe(Config, CONFIG_TYPE)
  const layers: Descriptor[] = []
  for (const path of Layers ?? []) layers.push(await describe(path))
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.dockerManifest, config, layers }))
  const root = { mediaType: MEDIA_TYPES.dockerManifest, digest: digestOf(manifest), size: manifest.byteLength }
  return {
    root,
    async *read({ digest }, options = {}) {
      const path = paths.get(digest)
      if (digest === root.digest) yield manifest.subarray(options.from ?? 0)
      else if (path === undefined) throw new LayerswarmError('SOURCE_INVALID', { detail: `there is no ${digest}` })
      else yield* files.read(path, options)
    }
  }
}

function choose(images: readonly Listed[], image: string): Listed {
  const name = formatReference(parseReference(image))
  const named = images.filter(({ RepoTags }) => RepoTags?.some((tag) => formatReference(parseReference(tag)) === name))
  const [only] = images.length === 1 ? images : named
  if (only !== undefined && (images.length === 1 || named.length === 1)) return only
  const names = images.flatMap(({ RepoTags }) => RepoTags ?? []).join(', ')
  throw new LayerswarmError('SOURCE_INVALID', { detail: `it holds ${images.length} images: ${names}; save the one that is meant alone` })
}

async function hashed(files: Files, path: string, mediaType?: string): Promise<Descriptor> {
  const hash = createHash('sha256')
  let size = 0
  let suffix: string | undefined
  for await (const chunk of files.read(path)) {
    suffix ??= COMPRESSIONS.find(([magic]) => magic.equals(chunk.subarray(0, magic.byteLength)))?.[1] ?? ''
    hash.update(chunk)
    size += chunk.byteLength
  }
  return { mediaType: mediaType ?? `${LAYER_TYPE}${suffix ?? ''}`, size, digest: `sha256:${hash.digest('hex')}` as Digest }
}
