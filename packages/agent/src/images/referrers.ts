/** Signatures, bills of material and the like: manifests that refer to another one by `subject`. */
import { algorithmOf, type Digest, digestOf, hexOf } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { MAX_MANIFEST_BYTES, MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import type { Abortable, ImageManifest, ImageService, RegistryClient, RegistryUploads } from '../ports.ts'

export interface ReferrersDeps {
  readonly registry: Pick<RegistryClient, 'resolve' | 'content'>
  readonly uploads: Pick<RegistryUploads, 'manifest'>
  readonly images: Pick<ImageService, 'moved'>
}

interface Repository {
  readonly registry: string
  readonly repository: string
}

/** The longest tag is 128 characters, so the parts of a digest are cut as the specification says. */
function tagOf(subject: Digest): string {
  return `${algorithmOf(subject).slice(0, 32)}-${hexOf(subject).slice(0, 64)}`
}

/**
 * Lists a manifest that has a subject under the tag where clients look for it, for a registry that does not list
 * referrers itself (OCI distribution specification, section Pushing Manifests with Subject).
 * @throws {LayerswarmError} MANIFEST_INVALID when something else than a list has the tag, REGISTRY_…
 */
export async function listReferrer(deps: ReferrersDeps, at: Repository, listed: ImageManifest, options: Abortable): Promise<void> {
  const { subject } = listed.manifest
  if (subject === undefined) return
  const { registry, repository } = at
  const ref = { registry, repository, tag: tagOf(subject.digest) }
  const { manifests, ...rest } = await listAt(deps.registry, ref, options)
  if (manifests.some(({ digest }) => digest === listed.descriptor.digest)) return
  const bytes = Buffer.from(JSON.stringify({ ...rest, manifests: [...manifests, entryOf(listed)] }))
  await deps.uploads.manifest(ref, { bytes, mediaType: MEDIA_TYPES.ociIndex }, options)
  deps.images.moved(ref)
}

interface List {
  readonly manifests: readonly { readonly digest: unknown }[]
  readonly [more: string]: unknown
}

async function listAt(registry: ReferrersDeps['registry'], ref: Repository & { readonly tag: string }, options: Abortable): Promise<List> {
  try {
    const { digest } = await registry.resolve(ref, options)
    const { registry: host, repository } = ref
    const { size, body } = await registry.content({ registry: host, repository, digest, kind: 'manifest' }, undefined, options)
    if (size > MAX_MANIFEST_BYTES) throw new LayerswarmError('MANIFEST_INVALID', { detail: `${size} bytes` })
    const bytes = Buffer.concat(await Array.fromAsync(body))
    if (digestOf(bytes, digest) !== digest) throw new LayerswarmError('DIGEST_MISMATCH', { detail: digest })
    const list = JSON.parse(bytes.toString())
    if (Array.isArray(list?.manifests)) return list
    throw new LayerswarmError('MANIFEST_INVALID', { detail: `${ref.tag} is no list of referrers` })
  } catch (error) {
    if (!isLayerswarmError(error, 'NOT_FOUND')) throw error
    return { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] }
  }
}

/** What a list says of a manifest, so that clients can choose by type. */
function entryOf({ bytes, descriptor, manifest }: ImageManifest): { readonly digest: Digest } & Record<string, unknown> {
  const { artifactType, annotations } = JSON.parse(Buffer.from(bytes).toString())
  const type = artifactType ?? manifest.config?.mediaType
  return {
    mediaType: descriptor.mediaType,
    digest: descriptor.digest,
    size: descriptor.size,
    ...(type === undefined ? {} : { artifactType: type }),
    ...(annotations === undefined ? {} : { annotations })
  }
}
