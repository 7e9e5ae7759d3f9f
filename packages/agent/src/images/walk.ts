/** From an image's root manifest to everything that belongs to it. */
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor, Manifest, Platform } from '@layerswarm/core/image/manifest.ts'
import { choosePlatform, formatPlatform } from '@layerswarm/core/image/platform.ts'
import type { ImageManifest } from '../ports.ts'
import { mapLimited } from './map-limited.ts'

/** Deeper nesting of indexes than any tool writes. */
const MAX_DEPTH = 8
/** Manifests of one image: far more than platforms there are, each with its attestation. */
const MAX_MANIFESTS = 1000
/** Each costs round trips rather than bytes. */
const CONCURRENT_MANIFESTS = 4

/** A manifest with what the index says of it. */
export interface Leaf {
  readonly named: Descriptor
  readonly manifest: Manifest
}

export interface WalkedImage {
  readonly manifests: readonly ImageManifest[]
  /** Manifests that are no index, in file order. */
  readonly leaves: readonly Leaf[]
  /** Entries of indexes that the registry lacks: sparse copies of an image are common. */
  readonly missing: readonly Descriptor[]
}

/** Configuration and layers. */
export function blobsOf({ config, layers }: Pick<Manifest, 'config' | 'layers'>): Descriptor[] {
  return [...(config === undefined ? [] : [config]), ...layers]
}

/** Layers that the registry need not have, and that may not be spread without being asked. */
export function isForeign({ mediaType }: Descriptor): boolean {
  return /\.(?:foreign|nondistributable)\./.test(mediaType)
}

/** Whether it says what system an image is made for. */
export function isImageConfig({ mediaType }: Descriptor): boolean {
  return mediaType === 'application/vnd.oci.image.config.v1+json' || mediaType === 'application/vnd.docker.container.image.v1+json'
}

/** Each digest once. */
export function unique(content: readonly Descriptor[]): Descriptor[] {
  return [...new Map(content.map((one) => [one.digest, one])).values()]
}

/**
 * Fetches every manifest below `root`, each digest once.
 * @throws {LayerswarmError} MANIFEST_INVALID beyond the bounds, and whatever `fetch` throws but MANIFEST_UNKNOWN below the root
 */
export async function walkImage(root: ImageManifest, fetch: (named: Descriptor) => Promise<ImageManifest>): Promise<WalkedImage> {
  const manifests = [root]
  const leaves: Leaf[] = []
  const missing: Descriptor[] = []
  const seen = new Set([root.descriptor.digest])

  const visit = async (named: Descriptor, at: ImageManifest, depth: number): Promise<void> => {
    if (at.manifest.config !== undefined) leaves.push({ named, manifest: at.manifest })
    if (at.manifest.manifests.length > 0 && depth === MAX_DEPTH) {
      throw new LayerswarmError('MANIFEST_INVALID', { detail: `indexes nested more than ${MAX_DEPTH} deep` })
    }
    const fresh = at.manifest.manifests.filter(({ digest }) => !seen.has(digest) && seen.add(digest))
    if (seen.size > MAX_MANIFESTS) throw new LayerswarmError('MANIFEST_INVALID', { detail: `more than ${MAX_MANIFESTS} manifests` })
    const found = await mapLimited(fresh, CONCURRENT_MANIFESTS, async (child) => ({
      child,
      manifest: await fetchUnlessMissing(fetch, child)
    }))
    for (const { child, manifest } of found) {
      if (manifest === undefined) {
        missing.push(child)
        continue
      }
      manifests.push(manifest)
      await visit(child, manifest, depth + 1)
    }
  }
  await visit(root.descriptor, root, 0)
  return { manifests, leaves, missing }
}

async function fetchUnlessMissing(
  fetch: (named: Descriptor) => Promise<ImageManifest>,
  named: Descriptor
): Promise<ImageManifest | undefined> {
  try {
    return await fetch(named)
  } catch (error) {
    if (isLayerswarmError(error, 'MANIFEST_UNKNOWN', 'NOT_FOUND')) return undefined
    throw error
  }
}

/**
 * The leaves whose layers are wanted. An image that is one manifest is what it is: asked for by name, it is taken. So is
 * an artifact, which is made for no platform.
 * @param platformOf reads a leaf's platform from its configuration, where the index does not say it
 * @throws {LayerswarmError} PLATFORM_UNKNOWN when one of `platforms` is not there
 */
export async function selectLeaves(
  image: WalkedImage,
  platforms: readonly Platform[] | 'all',
  platformOf: (leaf: Leaf) => Promise<Platform | undefined>
): Promise<readonly Leaf[]> {
  if (platforms === 'all' || image.manifests.length === 1) return image.leaves
  const offers: Descriptor[] = []
  for (const leaf of image.leaves) offers.push({ ...leaf.named, platform: leaf.named.platform ?? (await platformOf(leaf)) })
  if ([...offers, ...image.missing].every(({ platform }) => platform === undefined)) return image.leaves
  const chosen = new Set(
    platforms.map((platform) => {
      const best = choosePlatform(platform, [...offers, ...image.missing])
      const leaf = image.leaves.find((candidate) => candidate.named.digest === best?.digest)
      if (leaf !== undefined) return leaf
      const offered = offers.flatMap((offer) => (offer.platform === undefined ? [] : [formatPlatform(offer.platform)]))
      const names = [...new Set(offered)].filter((name) => name !== 'unknown/unknown')
      throw new LayerswarmError('PLATFORM_UNKNOWN', { detail: `${formatPlatform(platform)}; the image offers ${names.join(', ')}` })
    })
  )
  return [...chosen]
}
