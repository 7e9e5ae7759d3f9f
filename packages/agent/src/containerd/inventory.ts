import { access, constants } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { algorithmOf, type Digest, hexOf, isDigest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { parseReference, scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Abortable, ForeignFile, ForeignImage, ForeignState } from '../ports.ts'
import type { ContainerdClient, ContentInfo, ImageRecord } from './client.ts'
import type { ContainerdPlace } from './locate.ts'

/** containerd keeps what a label of this kind names for as long as it keeps what has the label. */
const REFERENCE_LABEL = 'containerd.io/gc.ref.content'

/**
 * The folder of containerd's content plugin, which this user can read. containerd 2.x makes it for its first blob: until
 * then the folder that it will lie in counts.
 * @throws {LayerswarmError} CONTAINERD_FAILED; the signal's reason
 */
export async function contentRoot(client: ContainerdClient, place: ContainerdPlace, options: Abortable = {}): Promise<string> {
  const root = place.content ?? (await client.contentRoot(options))
  if (root === undefined) throw new LayerswarmError('CONTAINERD_FAILED', { detail: 'it has no content store on this host' })
  const readable = constants.R_OK | constants.X_OK
  try {
    await access(root, readable).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      return access(dirname(root), readable)
    })
  } catch (cause) {
    throw new LayerswarmError('CONTAINERD_FAILED', { cause })
  }
  return root
}

/**
 * What containerd holds in all of its namespaces.
 * @param root the folder of its content plugin, as seen from here
 * @throws {LayerswarmError} CONTAINERD_FAILED
 */
export async function takeInventory(client: ContainerdClient, root: string, options: Abortable = {}): Promise<ForeignState> {
  const files = new Map<Digest, ForeignFile>()
  const images: ForeignImage[] = []
  for (const namespace of await client.namespaces(options)) {
    const records = await client.images(namespace, options)
    const infos = await Array.fromAsync(client.content(namespace, options))
    const kept = keptBy(records, infos)
    for (const { digest, size } of infos) {
      if (!isDigest(digest)) continue
      const path = join(root, 'blobs', algorithmOf(digest), hexOf(digest))
      files.set(digest, { digest, size, path, kept: kept.has(digest) || files.get(digest)?.kept === true })
    }
    images.push(...records.map(imageOf).filter((image) => image !== undefined))
  }
  return { files, images }
}

/** Content that stays: the targets of images, and what labels name from there. Without a label it goes with the pull. */
export function keptBy(images: readonly ImageRecord[], infos: readonly ContentInfo[]): ReadonlySet<string> {
  const named = new Map(
    infos.map(({ digest, labels }) => [
      digest,
      Object.entries(labels).flatMap(([label, value]) => (label.startsWith(REFERENCE_LABEL) ? [value] : []))
    ])
  )
  const kept = new Set<string>()
  const rest = images.map(({ target }) => target?.digest ?? '')
  for (let digest = rest.pop(); digest !== undefined; digest = rest.pop()) {
    if (kept.has(digest) || !named.has(digest)) continue
    kept.add(digest)
    rest.push(...(named.get(digest) ?? []))
  }
  return kept
}

/** @returns undefined for a name that is no full reference, such as the image ids that CRI uses as names too */
export function imageOf({ name, target }: ImageRecord): ForeignImage | undefined {
  if (target === null || !isDigest(target.digest)) return undefined
  try {
    const reference = parseReference(name)
    const scope = scopeOf(reference)
    if (!name.startsWith(scope)) return undefined
    const root = { mediaType: target.media_type, digest: target.digest, size: target.size }
    return { scope, tag: reference.digest === undefined ? reference.tag : undefined, root }
  } catch (error) {
    if (isLayerswarmError(error)) return undefined
    throw error
  }
}
