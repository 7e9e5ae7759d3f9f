/** Gives a registry an image: blobs that it lacks, then manifests, children first, the tag last. */
import type { PushProgress, PushSummary } from '@layerswarm/core/api/push-api.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { childrenOf, type Descriptor } from '@layerswarm/core/image/manifest.ts'
import { formatReference, type ImageReference, parseReference, scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type {
  Abortable,
  ContentIndex,
  ImageManifest,
  ImageService,
  ImageSource,
  RegistryClient,
  RegistryUploads,
  Uploaded
} from '../ports.ts'
import { mapLimited } from './map-limited.ts'
import { walkSource } from './read-source.ts'
import { listReferrer } from './referrers.ts'
import { blobsOf, isForeign, unique } from './walk.ts'

/** As many as container tools send at a time. */
const CONCURRENT_BLOBS = 4

export interface PushDeps {
  readonly uploads: RegistryUploads
  readonly registry: Pick<RegistryClient, 'resolve' | 'content'>
  readonly images: Pick<ImageService, 'moved'>
  readonly index: Pick<ContentIndex, 'link' | 'links' | 'setTag'>
  readonly clock: Clock
  readonly log: Logger
}

export interface PushOptions extends Abortable {
  readonly onProgress?: ((progress: PushProgress) => void) | undefined
}

/**
 * @param reference where to; a digest in it must be the image's own
 * @throws {LayerswarmError} REFERENCE_INVALID, MANIFEST_UNKNOWN for a source that lacks manifests of the image,
 *   REGISTRY_…, DIGEST_MISMATCH, and what the source throws
 */
export async function pushImage(deps: PushDeps, reference: string, source: ImageSource, options: PushOptions = {}): Promise<PushSummary> {
  const { clock, log } = deps
  const started = clock.now()
  const target = parseReference(reference)
  if (target.digest !== undefined && target.digest !== source.root.digest) {
    throw new LayerswarmError('REFERENCE_INVALID', { detail: `the image has another digest: ${source.root.digest}` })
  }
  const { manifests, missing } = await walkSource(source, abortable(options))
  const [absent] = missing
  if (absent !== undefined) {
    throw new LayerswarmError('MANIFEST_UNKNOWN', {
      detail: `the source lacks ${absent.digest}, which its index names; it cannot be pushed whole`
    })
  }
  const all = unique(manifests.flatMap(({ manifest }) => blobsOf(manifest)))
  const blobs = all.filter((blob) => !isForeign(blob))
  const sent = await sendBlobs(deps, target, source, blobs, options)
  for (const manifest of childrenFirst(manifests)) {
    const { subject } = await sendManifest(deps, target, source, manifest, undefined, options)
    if (subject === undefined) await listReferrer(deps, target, manifest, abortable(options))
  }
  const root = manifests[0]
  if (root !== undefined && target.tag !== undefined) await sendManifest(deps, target, source, root, target.tag, options)
  await record(deps, target, source.root, manifests)
  const summary: PushSummary = {
    image: formatReference(target),
    digest: source.root.digest,
    manifests: manifests.length,
    blobs: blobs.length,
    skipped: all.length - blobs.length,
    bytes: bytesOf(blobs),
    sent: bytesOf(blobs.filter(({ digest }) => sent.get(digest) === 'sent')),
    mounted: bytesOf(blobs.filter(({ digest }) => sent.get(digest) === 'mounted')),
    held: bytesOf(blobs.filter(({ digest }) => sent.get(digest) === 'held')),
    seconds: (clock.now() - started) / 1000
  }
  log.info(summary, 'pushed')
  return summary
}

async function sendBlobs(
  deps: PushDeps,
  target: ImageReference,
  source: ImageSource,
  blobs: readonly Descriptor[],
  options: PushOptions
): Promise<ReadonlyMap<Digest, Uploaded>> {
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal])
  const how = await mapLimited(blobs, CONCURRENT_BLOBS, async (blob) => {
    try {
      return [blob.digest, await sendBlob(deps, target, source, blob, { ...options, signal })] as const
    } catch (error) {
      stop.abort(error)
      throw error
    }
  })
  return new Map(how)
}

async function sendBlob(
  { uploads, index }: PushDeps,
  target: ImageReference,
  source: ImageSource,
  blob: Descriptor,
  { onProgress, signal }: PushOptions & { readonly signal: AbortSignal }
): Promise<Uploaded> {
  const { digest, size } = blob
  const { registry, repository } = target
  const links = await index.links(digest)
  const elsewhere = links.find(({ scope }) => scope.startsWith(`${registry}/`) && scope !== scopeOf(target))?.scope
  const how = await uploads.blob({ registry, repository, digest, kind: 'blob' }, size, (from) => source.read(blob, { from, signal }), {
    signal,
    ...(elsewhere === undefined ? {} : { mountFrom: elsewhere.slice(registry.length + 1) }),
    prepare: () => prove(source, blob, { signal, onProgress }),
    onSent: (bytes) => onProgress?.({ digest, size, bytes, how: 'sent', done: false })
  })
  onProgress?.({ digest, size, bytes: size, how, done: true })
  return how
}

/** Before an upload waits for its bytes, which a registry lets it do for a while only. */
async function prove(source: ImageSource, blob: Descriptor, { signal, onProgress }: PushOptions): Promise<void> {
  const { digest, size } = blob
  const options = signal === undefined ? {} : { signal }
  await source.prove?.(blob, {
    ...options,
    onProgress: (hashed) => onProgress?.({ digest, size, bytes: 0, how: 'sent', done: false, hashed })
  })
}

/** A registry that says it lacks a blob after all is given it once more. */
async function sendManifest(
  deps: PushDeps,
  target: ImageReference,
  source: ImageSource,
  { descriptor, bytes, manifest }: ImageManifest,
  tag: string | undefined,
  options: PushOptions
): Promise<{ readonly subject?: string }> {
  const { registry, repository } = target
  const ref =
    tag === undefined ? { registry, repository, digest: descriptor.digest, kind: 'manifest' as const } : { registry, repository, tag }
  const send = () => deps.uploads.manifest(ref, { bytes, mediaType: descriptor.mediaType }, abortable(options))
  try {
    return await send()
  } catch (error) {
    if (!isLayerswarmError(error, 'BLOB_UNKNOWN')) throw error
    deps.log.warn({ image: formatReference(target), reason: error.message }, 'the registry lost blobs; they are sent again')
    await sendBlobs(
      deps,
      target,
      source,
      blobsOf(manifest).filter((blob) => !isForeign(blob)),
      options
    )
    return await send()
  }
}

/** Each manifest after all that it names: an index may share a manifest with another one. */
function childrenFirst(manifests: readonly ImageManifest[]): ImageManifest[] {
  const byDigest = new Map(manifests.map((manifest) => [manifest.descriptor.digest, manifest]))
  const ordered = new Set<ImageManifest>()
  const visit = (manifest: ImageManifest): void => {
    for (const { digest } of manifest.manifest.manifests) {
      const child = byDigest.get(digest)
      if (child !== undefined && !ordered.has(child)) visit(child)
    }
    ordered.add(manifest)
  }
  for (const manifest of manifests) if (!ordered.has(manifest)) visit(manifest)
  return [...ordered]
}

/** What was pushed belongs to that repository: other hosts may have it from here. */
async function record(
  { index, images, log }: PushDeps,
  target: ImageReference,
  root: Descriptor,
  manifests: readonly ImageManifest[]
): Promise<void> {
  const scope = scopeOf(target)
  const { registry, repository, tag } = target
  if (tag !== undefined) images.moved({ registry, repository, tag })
  try {
    for (const { descriptor, manifest } of manifests) await index.link(scope, [descriptor, ...childrenOf(manifest)])
    if (tag !== undefined) await index.setTag(scope, tag, { mediaType: root.mediaType, digest: root.digest, size: root.size })
  } catch (err) {
    log.warn({ err, scope }, 'could not record what was pushed')
  }
}

function abortable({ signal }: Abortable): Abortable {
  return signal === undefined ? {} : { signal }
}

function bytesOf(blobs: readonly Descriptor[]): number {
  return blobs.reduce((sum, { size }) => sum + size, 0)
}
