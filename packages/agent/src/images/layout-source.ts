import { algorithmOf, hexOf } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, parseManifest } from '@layerswarm/core/image/manifest.ts'
import { formatReference, parseReference } from '@layerswarm/core/image/reference.ts'
import type { ImageSource } from '../ports.ts'
import { type Files, readJson } from './files.ts'

/** What tools write an image's name under: the tag alone, or all of it. */
const NAME_KEYS = ['org.opencontainers.image.ref.name', 'io.containerd.image.name']

/**
 * An image in an OCI image layout (image-spec, image-layout.md).
 * @param image the name that it is to get: chooses among several images
 * @throws {LayerswarmError} SOURCE_INVALID
 */
export async function readLayout(files: Files, image: string): Promise<Pick<ImageSource, 'root' | 'read'>> {
  const { manifests } = await indexOf(files)
  return {
    root: choose(manifests, image),
    read: ({ digest }, options) => files.read(`blobs/${algorithmOf(digest)}/${hexOf(digest)}`, options)
  }
}

async function indexOf(files: Files): Promise<{ readonly manifests: readonly Descriptor[] }> {
  const index = await readJson(files, 'index.json')
  try {
    return parseManifest(Buffer.from(JSON.stringify(index)))
  } catch (error) {
    if (isLayerswarmError(error, 'MANIFEST_INVALID'))
      throw new LayerswarmError('SOURCE_INVALID', { detail: 'index.json is not valid', cause: error })
    throw error
  }
}

function choose(manifests: readonly Descriptor[], image: string): Descriptor {
  const { tag, digest } = parseReference(image)
  const wanted = [tag, formatReference(parseReference(image)), image]
  const named = manifests.filter((manifest) => manifest.digest === digest || namesOf(manifest).some((name) => wanted.includes(name)))
  const [only] = named.length === 0 && manifests.length === 1 ? manifests : named
  if (only !== undefined && (named.length === 1 || manifests.length === 1)) return only
  const names = manifests.flatMap(namesOf).join(', ')
  throw new LayerswarmError('SOURCE_INVALID', {
    detail: `it holds ${manifests.length} images, ${names === '' ? 'without names' : `named ${names}`}; which is meant shows in the tag that is pushed`
  })
}

function namesOf({ annotations = {} }: Descriptor): string[] {
  return NAME_KEYS.flatMap((key) => annotations[key] ?? [])
}
