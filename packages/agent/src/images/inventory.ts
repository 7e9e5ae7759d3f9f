/** Which images a host knows, how much of each is here, and which blobs they share. Makes no request. */
import type { HeldImage, StoreTotals } from '@layerswarm/core/api/images-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { childrenOf, type Descriptor, isManifestType, type Platform } from '@layerswarm/core/image/manifest.ts'
import { choosePlatform, hostPlatform } from '@layerswarm/core/image/platform.ts'
import { type ImageReference, parseReference, scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Abortable, BlobStat, BlobStore, ContentIndex } from '../ports.ts'
import { HeldManifests } from './held-manifests.ts'
import { blobsOf, isForeign, type Leaf, unique, type WalkedImage, walkImage } from './walk.ts'

export interface InventoryDeps {
  readonly store: Pick<BlobStore, 'open' | 'stat' | 'list' | 'verify'>
  readonly index: Pick<ContentIndex, 'tag' | 'linked' | 'tags' | 'allLinks'>
}

export interface InventoryOptions extends Abortable {
  /** Whose layers an image needs (default this host's; all where the image is made for none of them). */
  readonly platforms?: readonly Platform[] | 'all' | undefined
}

/** An image by name, before anything is known of it. */
export interface NamedImage {
  readonly image: string
  readonly scope: string
  readonly root: Descriptor
}

/** An image with everything of it that can be named from here. */
export interface SurveyedImage extends NamedImage {
  readonly told: HeldImage
  /** Manifests, configurations and layers, of all platforms, each once. */
  readonly content: readonly Descriptor[]
}

/** One look at the images of a store. What changes meanwhile may or may not be seen. */
export class Inventory {
  readonly #deps: InventoryDeps
  readonly manifests: HeldManifests

  constructor(deps: InventoryDeps) {
    this.#deps = deps
    this.manifests = new HeldManifests(deps.store)
  }

  /** @throws {LayerswarmError} IMAGE_UNKNOWN, REFERENCE_INVALID */
  async named(reference: string): Promise<NamedImage> {
    const image = parseReference(reference)
    const root = await this.#rootOf(image)
    if (root === undefined) throw new LayerswarmError('IMAGE_UNKNOWN', { detail: reference.slice(0, 300) })
    return { image: nameOf(image), scope: scopeOf(image), root }
  }

  /** Every tag that this host knows, then the manifests that it holds under no tag and no other manifest, scope by scope. */
  async *names(): AsyncGenerator<NamedImage> {
    const { index } = this.#deps
    const tagged = new Map<string, Set<Digest>>()
    for await (const { scope, tag, descriptor } of index.tags()) {
      const digests = tagged.get(scope) ?? new Set<Digest>()
      tagged.set(scope, digests.add(descriptor.digest))
      yield { image: `${scope}:${tag}`, scope, root: descriptor }
    }
    let at: { scope: string; manifests: Descriptor[] } | undefined
    for await (const { scope, descriptor } of index.allLinks()) {
      if (at?.scope !== scope) {
        if (at !== undefined) yield* this.#untagged(at, tagged.get(at.scope))
        at = { scope, manifests: [] }
      }
      if (isManifestType(descriptor.mediaType)) at.manifests.push(descriptor)
    }
    if (at !== undefined) yield* this.#untagged(at, tagged.get(at.scope))
  }

  async survey(named: NamedImage, options: InventoryOptions = {}): Promise<SurveyedImage> {
    const { image, root } = named
    const top = await this.manifests.read(root.digest, root.mediaType, options)
    if (top === undefined) {
      const told: HeldImage = {
        image,
        digest: root.digest,
        mediaType: root.mediaType,
        state: 'missing',
        present: 0,
        size: root.size,
        held: 0
      }
      return { ...named, told, content: [root] }
    }
    const walked = await walkImage(top, async (child) => {
      const held = await this.manifests.read(child.digest, child.mediaType, options)
      if (held === undefined) throw new LayerswarmError('MANIFEST_UNKNOWN', { detail: child.digest })
      return held
    })
    const { leaves, whole } = await this.#needed(walked, options)
    const blobs = unique(leaves.flatMap(({ manifest }) => blobsOf(manifest))).filter((blob) => !isForeign(blob))
    const present = await this.#complete(blobs)
    const manifests = walked.manifests.map(({ descriptor }) => descriptor)
    const complete = whole && present.length === blobs.length
    const told: HeldImage = {
      image,
      digest: root.digest,
      mediaType: top.descriptor.mediaType,
      state: complete ? 'complete' : 'incomplete',
      present: present.length,
      ...(whole ? { required: blobs.length } : {}),
      size: bytesOf([...manifests, ...blobs]),
      held: bytesOf([...manifests, ...present])
    }
    const all = walked.leaves.flatMap(({ manifest }) => blobsOf(manifest))
    return { ...named, told, content: unique([...manifests, ...walked.missing, ...all]) }
  }

  /** Manifests whose layers are wanted, and whether all of those are here. */
  async #needed(
    { leaves, missing, manifests }: WalkedImage,
    options: InventoryOptions
  ): Promise<{ leaves: readonly Leaf[]; whole: boolean }> {
    const { platforms = [hostPlatform()] } = options
    if (platforms === 'all') return { leaves, whole: missing.length === 0 }
    if (manifests.length === 1 && missing.length === 0) return { leaves, whole: true }
    const offers = leaves.map(({ named }) => named)
    const chosen = platforms.map((platform) => choosePlatform(platform, [...offers, ...missing])?.digest)
    if (chosen.every((digest) => digest === undefined)) return { leaves, whole: missing.length === 0 }
    const found = leaves.filter(({ named }) => chosen.includes(named.digest))
    return { leaves: found, whole: !missing.some(({ digest }) => chosen.includes(digest)) }
  }

  async #complete(blobs: readonly Descriptor[]): Promise<Descriptor[]> {
    const present: Descriptor[] = []
    for (const blob of blobs) if ((await this.#deps.store.stat(blob.digest))?.state === 'complete') present.push(blob)
    return present
  }

  async #rootOf(image: ImageReference): Promise<Descriptor | undefined> {
    const { index } = this.#deps
    if (image.digest !== undefined) return await index.linked(scopeOf(image), image.digest)
    return image.tag === undefined ? undefined : (await index.tag(scopeOf(image), image.tag))?.descriptor
  }

  async *#untagged(
    { scope, manifests }: { readonly scope: string; readonly manifests: readonly Descriptor[] },
    tagged: ReadonlySet<Digest> = new Set()
  ): AsyncGenerator<NamedImage> {
    const roots = new Map<Digest, Descriptor>()
    const named = new Set<Digest>(tagged)
    for (const manifest of manifests) {
      const held = await this.manifests.read(manifest.digest, manifest.mediaType)
      if (held === undefined) continue
      roots.set(manifest.digest, manifest)
      for (const { digest } of childrenOf(held.manifest)) named.add(digest)
    }
    for (const [digest, root] of roots) if (!named.has(digest)) yield { image: `${scope}@${digest}`, scope, root }
  }
}

function nameOf(image: ImageReference): string {
  return image.digest === undefined ? `${scopeOf(image)}:${image.tag}` : `${scopeOf(image)}@${image.digest}`
}

function bytesOf(blobs: readonly Descriptor[]): number {
  return unique(blobs).reduce((sum, { size }) => sum + size, 0)
}

/** Whole blobs, with the images that use each. */
export interface Usage {
  readonly blobs: readonly BlobStat[]
  readonly images: ReadonlyMap<Digest, readonly string[]>
  readonly totals: StoreTotals
}

/** Adds up, over a store and the images surveyed in it, who uses what. */
export async function usageOf(store: Pick<BlobStore, 'list'>, images: readonly SurveyedImage[]): Promise<Usage> {
  const blobs = await Array.fromAsync(store.list())
  const users = new Map<Digest, string[]>()
  for (const { image, content } of images) {
    for (const { digest } of content) {
      const names = users.get(digest)
      if (names === undefined) users.set(digest, [image])
      else names.push(image)
    }
  }
  const whole = blobs.filter(({ state }) => state === 'complete')
  const unused = whole.filter(({ digest }) => !users.has(digest))
  const there = whole.filter(({ places }) => places?.includes('containerd'))
  const twice = there.filter(({ places }) => places?.includes('store'))
  const sum = (some: readonly BlobStat[], times: (blob: BlobStat) => number = () => 1) =>
    some.reduce((total, blob) => total + blob.size * times(blob), 0)
  return {
    blobs,
    images: users,
    totals: {
      images: images.length,
      blobs: whole.length,
      bytes: sum(whole),
      referenced: sum(whole, ({ digest }) => users.get(digest)?.length ?? 0),
      unused: { blobs: unused.length, bytes: sum(unused) },
      containerd: { blobs: there.length, bytes: sum(there) },
      twice: { blobs: twice.length, bytes: sum(twice) }
    }
  }
}

/** @returns undefined for an image that is too strange to be walked */
export async function surveyOrSkip(inventory: Inventory, named: NamedImage, options: InventoryOptions): Promise<SurveyedImage | undefined> {
  try {
    return await inventory.survey(named, options)
  } catch (error) {
    if (isLayerswarmError(error, 'MANIFEST_INVALID')) return undefined
    throw error
  }
}
