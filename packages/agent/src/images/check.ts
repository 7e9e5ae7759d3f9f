/** Checks the images of a host: is all there, is it what it should be, and can what is not be had again. */
import type { CheckedImage, CheckLine, CheckSummary } from '@layerswarm/core/api/images-api.ts'
import { toldError } from '@layerswarm/core/api/local-api.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, isManifestType } from '@layerswarm/core/image/manifest.ts'
import type { Abortable, ImageService, PullOptions, PullProgress } from '../ports.ts'
import { Inventory, type InventoryDeps, type InventoryOptions, type NamedImage, type SurveyedImage, surveyOrSkip } from './inventory.ts'
import { type BlobProgress, progressOf } from './progress.ts'
import { fetchContent, type PullDeps } from './pull.ts'

export interface CheckDeps extends InventoryDeps {
  readonly store: InventoryDeps['store'] & {
    /** Blobs that were found corrupt where another program keeps them: they are not listed, and do not go. */
    corrupt?(): Iterable<{ readonly digest: Digest; readonly size: number }>
  }
  readonly images: PullDeps['images'] & Pick<ImageService, 'pull'>
  readonly clock: Clock
}

export interface CheckOptions extends InventoryOptions {
  /** One image; every image, and every blob, without it. */
  readonly image?: string | undefined
  /** Hash everything again. */
  readonly verify?: boolean | undefined
  /** Fetch again what is missing or corrupt. */
  readonly repair?: boolean | undefined
}

/** Blobs that turned out corrupt, by digest with their sizes. They are gone from the store. */
type Corrupt = Map<Digest, number>

/**
 * Checks, and says what it finds as it goes; the last line is the summary.
 * @throws {LayerswarmError} IMAGE_UNKNOWN, REFERENCE_INVALID, STORE_FAILED; the signal's reason
 */
export async function* checkImages(deps: CheckDeps, options: CheckOptions): AsyncGenerator<CheckLine> {
  const started = deps.clock.now()
  const corrupt: Corrupt = new Map()
  const before = await survey(deps, options, corrupt)
  const verified = { blobs: 0, bytes: 0 }
  if (options.verify === true) yield* verifyAll(deps, options, before, corrupt, verified)
  const users = usersOf(before, corrupt)
  // A name of which nothing is left is no fault, unless it was asked for.
  const wanted = before.filter(({ told }) => told.state !== 'missing' || options.image !== undefined || corrupt.has(told.digest))
  if (options.repair === true) yield* repair(deps, options, wanted, corrupt)
  const after = await survey(deps, options, new Map())
  for (const { told, content } of after) {
    yield { image: { ...told, corrupt: content.filter(({ digest }) => corrupt.has(digest)).length } satisfies CheckedImage }
  }
  const names = new Set(wanted.map(({ image }) => image))
  const left = await stillGone(deps, corrupt)
  const count = (state: CheckedImage['state']) => after.filter(({ told }) => told.state === state).length
  const summary: CheckSummary = {
    sound: after.every(({ image, told }) => told.state === 'complete' || !names.has(image)) && left.every((digest) => !users.has(digest)),
    images: after.length,
    complete: count('complete'),
    incomplete: count('incomplete'),
    missing: count('missing'),
    corrupt: [...corrupt].map(([digest, size]) => ({ digest, size, images: users.get(digest) ?? [] })),
    mended: corrupt.size - left.length,
    verified,
    seconds: (deps.clock.now() - started) / 1000
  }
  // Nobody asked for it to be mended: then what was found is a fault, whoever used it.
  yield { summary: options.repair === true ? summary : { ...summary, sound: summary.sound && corrupt.size === 0 } }
}

async function survey(deps: CheckDeps, options: CheckOptions, corrupt: Corrupt): Promise<SurveyedImage[]> {
  const inventory = new Inventory(deps)
  const found: SurveyedImage[] = []
  for await (const named of chosen(inventory, options.image)) {
    options.signal?.throwIfAborted()
    const surveyed = await surveyOrSkip(inventory, named, options)
    if (surveyed !== undefined) found.push(surveyed)
  }
  for (const [digest, size] of inventory.manifests.corrupt) corrupt.set(digest, size)
  return found
}

async function* chosen(inventory: Inventory, image: string | undefined): AsyncGenerator<NamedImage> {
  if (image === undefined) yield* inventory.names()
  else yield await inventory.named(image)
}

async function* verifyAll(
  { store }: CheckDeps,
  { image, signal }: CheckOptions,
  surveyed: readonly SurveyedImage[],
  corrupt: Corrupt,
  verified: { blobs: number; bytes: number }
): AsyncGenerator<CheckLine> {
  const named = image === undefined ? undefined : new Set(surveyed.flatMap(({ content }) => content.map(({ digest }) => digest)))
  for (const { digest, size } of store.corrupt?.() ?? []) if (named?.has(digest) !== false) corrupt.set(digest, size)
  for await (const { digest, size, state } of store.list()) {
    if (state !== 'complete' || named?.has(digest) === false) continue
    yield { progress: { digest, size, bytes: 0, done: false } }
    const good = yield* progressOf(abortable(signal), ({ tell, ...how }) =>
      store.verify(digest, { ...how, onProgress: (bytes) => tell({ digest, size, bytes, done: false }) })
    )
    // It was evicted meanwhile: no fault.
    if (good === undefined) continue
    if (!good) corrupt.set(digest, size)
    verified.blobs++
    verified.bytes += size
    yield { progress: { digest, size, bytes: size, done: true } }
  }
}

/** Images that use what is corrupt. */
function usersOf(images: readonly SurveyedImage[], corrupt: Corrupt): Map<Digest, string[]> {
  const users = new Map<Digest, string[]>()
  for (const { image, content } of images) {
    for (const { digest } of content) if (corrupt.has(digest)) users.set(digest, [...(users.get(digest) ?? []), image])
  }
  return users
}

async function stillGone({ store }: CheckDeps, corrupt: Corrupt): Promise<Digest[]> {
  const gone: Digest[] = []
  for (const digest of corrupt.keys()) if ((await store.stat(digest))?.state !== 'complete') gone.push(digest)
  return gone
}

/** Fetches again, image by image, what it needs and what of it was corrupt. One that fails does not hold up the others. */
async function* repair(
  deps: CheckDeps,
  options: CheckOptions,
  images: readonly SurveyedImage[],
  corrupt: Corrupt
): AsyncGenerator<CheckLine> {
  for (const { image, scope, root, told, content } of images) {
    const damaged = content.filter(({ digest }) => corrupt.has(digest))
    if (told.state === 'complete' && damaged.length === 0) continue
    try {
      yield* progressOf(abortable(options.signal), async ({ signal, tell }) => {
        const told = { signal, onProgress: (progress: PullProgress) => tell(progressOfPull(progress)) }
        await pullAgain(deps, `${scope}@${root.digest}`, { ...options, ...told })
        for (const blob of damaged) await fetchContent(deps, refOf(scope, blob), told)
      })
    } catch (error) {
      options.signal?.throwIfAborted()
      yield { failed: { image, error: toldError(error) } }
    }
  }
}

/** By digest, for what the tag points to by now may be another image. One that is made for other platforms is wanted whole. */
async function pullAgain(
  { images }: CheckDeps,
  reference: string,
  { platforms, signal, onProgress }: CheckOptions & Pick<PullOptions, 'onProgress'> & { readonly signal: AbortSignal }
): Promise<void> {
  const told = { signal, ...(onProgress && { onProgress }) }
  try {
    await images.pull(reference, { ...told, ...(platforms === undefined ? {} : { platforms }) })
  } catch (error) {
    if (platforms !== undefined || !isLayerswarmError(error, 'PLATFORM_UNKNOWN')) throw error
    await images.pull(reference, { ...told, platforms: 'all' })
  }
}

function progressOfPull({ digest, size, counts, done }: PullProgress): BlobProgress {
  return { digest, size, bytes: done ? size : counts.local + counts.peer + counts.registry, done }
}

function abortable(signal: AbortSignal | undefined): Abortable {
  return signal === undefined ? {} : { signal }
}

function refOf(scope: string, { digest, mediaType }: Descriptor) {
  const slash = scope.indexOf('/')
  return {
    registry: scope.slice(0, slash),
    repository: scope.slice(slash + 1),
    digest,
    kind: isManifestType(mediaType) ? ('manifest' as const) : ('blob' as const)
  }
}
