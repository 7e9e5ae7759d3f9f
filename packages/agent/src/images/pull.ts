import type { Clock } from '@layerswarm/core/clock.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor, Platform } from '@layerswarm/core/image/manifest.ts'
import { hostPlatform } from '@layerswarm/core/image/platform.ts'
import { formatReference, type ImageReference, parseReference } from '@layerswarm/core/image/reference.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type {
  Abortable,
  ContentRef,
  FoundContent,
  ImageManifest,
  ImageService,
  OpenContent,
  PullOptions,
  PullSummary,
  RegistryClient,
  RuntimeImages,
  SourceCounts
} from '../ports.ts'
import { intoRuntime, runtimeOf } from './into-runtime.ts'
import { readWhole } from './manifests.ts'
import { mapLimited } from './map-limited.ts'
import { blobsOf, isForeign, isImageConfig, type Leaf, selectLeaves, unique, walkImage } from './walk.ts'

/** As many as container tools fetch at a time: more share the same link. */
const CONCURRENT_BLOBS = 4
/** Often enough for a progress bar. */
const PROGRESS_MS = 250
/** Here nobody else can be asked, and people can wait. */
const REGISTRY_MS = 30_000
const NOTHING: SourceCounts = { local: 0, peer: 0, registry: 0 }

export interface PullDeps {
  readonly images: Pick<ImageService, 'resolve' | 'find' | 'manifest' | 'served' | 'blob'>
  readonly registry: Pick<RegistryClient, 'allows'>
  /** Absent where there is no other program to give images to. */
  readonly runtime?: RuntimeImages | undefined
  readonly clock: Clock
  readonly log: Logger
}

/** See {@link ImageService.pull}. */
export async function pullImage(deps: PullDeps, reference: string, options: PullOptions): Promise<PullSummary> {
  const { clock, registry, log } = deps
  const started = clock.now()
  const image = parseReference(reference)
  if (!registry.allows(image.registry)) throw new LayerswarmError('REGISTRY_NOT_ALLOWED', { detail: image.registry })
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal])
  if (options.containerd !== undefined) await runtimeOf(deps).ready({ signal })
  const { root, stale } = await findRoot(deps, image, signal)
  const top = await deps.images.manifest(root, { signal })
  const walked = await walkImage(top, (named) => manifestOf(deps, image, named, signal))
  const chosen = await selectLeaves(walked, options.platforms ?? [hostPlatform()], (leaf) => platformFromConfig(deps, image, leaf, signal))
  const all = unique(chosen.flatMap(({ manifest }) => blobsOf(manifest)))
  const blobs = all.filter((blob) => !isForeign(blob))
  for (const { named, manifest } of chosen) {
    deps.images.served({ ...nameOf(image), digest: named.digest, kind: 'manifest' }, manifest)
  }
  const bytes = sum([...walked.manifests.map(({ descriptor }) => descriptor.size), ...blobs.map(({ size }) => size)])
  options.onImage?.({ digest: top.descriptor.digest, bytes })
  const moved = await mapLimited(blobs, CONCURRENT_BLOBS, async (blob) => {
    try {
      return await fetchContent(deps, { ...nameOf(image), digest: blob.digest, kind: 'blob' }, { ...options, signal })
    } catch (error) {
      stop.abort(error)
      throw error
    }
  })
  const containerd =
    options.containerd === undefined
      ? undefined
      : await intoRuntime(
          deps,
          { image, root: top.descriptor, manifests: walked.manifests, blobs },
          { namespace: options.containerd, signal }
        )
  const summary: PullSummary = {
    image: formatReference(image),
    digest: top.descriptor.digest,
    manifests: walked.manifests.length,
    blobs: blobs.length,
    skipped: all.length - blobs.length,
    bytes,
    counts: add([...walked.manifests.map(({ counts }) => counts), ...moved]),
    stale,
    ...(containerd && { containerd }),
    seconds: (clock.now() - started) / 1000
  }
  log.info(summary, 'pulled')
  return summary
}

function nameOf({ registry, repository }: ImageReference): { registry: string; repository: string } {
  return { registry, repository }
}

async function findRoot(deps: PullDeps, image: ImageReference, signal: AbortSignal): Promise<{ root: FoundContent; stale: boolean }> {
  if (image.digest !== undefined) {
    return {
      root: await deps.images.find({ ...nameOf(image), digest: image.digest, kind: 'manifest' }, { signal, waitMs: REGISTRY_MS }),
      stale: false
    }
  }
  const { descriptor, origin, staleSince } = await deps.images.resolve(
    { ...nameOf(image), tag: image.tag ?? '' },
    { signal, waitMs: REGISTRY_MS }
  )
  return {
    root: { ref: { ...nameOf(image), digest: descriptor.digest, kind: 'manifest' }, descriptor, origin },
    stale: staleSince !== undefined
  }
}

async function manifestOf(deps: PullDeps, image: ImageReference, named: Descriptor, signal: AbortSignal): Promise<ImageManifest> {
  const found = await deps.images.find({ ...nameOf(image), digest: named.digest, kind: 'manifest' }, { signal, waitMs: REGISTRY_MS })
  return await deps.images.manifest(found, { signal })
}

async function platformFromConfig(deps: PullDeps, image: ImageReference, leaf: Leaf, signal: AbortSignal): Promise<Platform | undefined> {
  const { config } = leaf.manifest
  // An artifact's configuration is of any type and any size.
  if (config === undefined || !isImageConfig(config)) return undefined
  const found = await deps.images.find({ ...nameOf(image), digest: config.digest, kind: 'blob' }, { signal, waitMs: REGISTRY_MS })
  await using open = await deps.images.blob(found, { signal })
  try {
    const { os, architecture, variant } = JSON.parse(new TextDecoder().decode(await readWhole(open, { signal }))) ?? {}
    return typeof os === 'string' && typeof architecture === 'string' ? { os, architecture, variant } : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Has content here, and says how far it is. @throws why it cannot be had, the signal's reason */
export async function fetchContent(
  deps: Pick<PullDeps, 'images' | 'clock'>,
  ref: ContentRef,
  options: Abortable & Pick<PullOptions, 'onProgress'>
): Promise<SourceCounts> {
  const found = await deps.images.find(ref, { ...options, waitMs: REGISTRY_MS })
  await using open = await deps.images.blob(found, options)
  const report = (done: boolean) => options.onProgress?.({ digest: ref.digest, size: open.size, counts: open.counts(), done })
  const landed = new AbortController()
  const reporting = reportWhile(deps.clock, landed.signal, () => report(false))
  try {
    await untilProven(open, options)
  } finally {
    landed.abort()
    await reporting
  }
  report(true)
  return open.counts()
}

/** The last byte is given out only when the whole is proven, so nothing else needs to be read back. */
async function untilProven(open: OpenContent, options: Abortable): Promise<void> {
  if (open.size === 0) return
  for await (const _last of open.read({ start: open.size - 1, end: open.size }, options));
}

async function reportWhile(clock: Clock, signal: AbortSignal, report: () => void): Promise<void> {
  while (!signal.aborted) {
    report()
    await clock.sleep(PROGRESS_MS, { signal }).catch(() => undefined)
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function add(all: readonly SourceCounts[]): SourceCounts {
  return all.reduce(
    (total, one) => ({ local: total.local + one.local, peer: total.peer + one.peer, registry: total.registry + one.registry }),
    NOTHING
  )
}
