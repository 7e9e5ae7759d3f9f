/** Images as sources for a push: by name, in the store, or in files. */
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, isManifestType } from '@layerswarm/core/image/manifest.ts'
import { parseReference, scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Abortable, BlobStore, ContentIndex, ContentRef, ForeignSource, ImageService, ImageSource } from '../ports.ts'
import { readDockerArchive } from './docker-archive-source.ts'
import { DirectoryFiles, type Files } from './files.ts'
import { readLayout } from './layout-source.ts'
import { openTar } from './tar-files.ts'

/** Where an image comes from, as users write it. */
export type SourceName =
  | { readonly kind: 'store' | 'containerd'; readonly image: string | undefined }
  | { readonly kind: 'oci' | 'oci-archive' | 'docker-archive'; readonly path: string }

/**
 * Reads `store`, `store:IMAGE`, `containerd`, `containerd:IMAGE`, `oci:DIR`, `oci-archive:FILE` or `docker-archive:FILE`.
 * @throws {LayerswarmError} SOURCE_INVALID, REFERENCE_INVALID
 */
export function parseSource(text: string): SourceName {
  const [, kind = '', rest] = /^([a-z-]+)(?::(.+))?$/s.exec(text) ?? []
  if (kind === 'store' || kind === 'containerd') {
    if (rest !== undefined) parseReference(rest)
    return { kind, image: rest }
  }
  if (rest !== undefined && (kind === 'oci' || kind === 'oci-archive' || kind === 'docker-archive')) return { kind, path: rest }
  throw new LayerswarmError('SOURCE_INVALID', { detail: text.slice(0, 300) })
}

/**
 * Opens an image in files.
 * @param image the name that it is to get: chooses among several images by their tags
 * @throws {LayerswarmError} SOURCE_INVALID
 */
export async function openFiles({ kind, path }: Extract<SourceName, { path: string }>, image: string): Promise<ImageSource> {
  await using parts = new AsyncDisposableStack()
  const files: Files = kind === 'oci' ? new DirectoryFiles(path) : parts.use(await openTar(path))
  const read = kind === 'docker-archive' ? await readDockerArchive(files, image) : await readLayout(files, image)
  const opened = parts.move()
  return { ...read, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

/**
 * An image that this host knows by name. What is not here is fetched when it is read.
 * @param known what has that name, where somebody else knows it
 * @throws {LayerswarmError} IMAGE_UNKNOWN, REFERENCE_INVALID
 */
export async function namedSource(
  {
    images,
    index
  }: { readonly images: Pick<ImageService, 'find' | 'manifest' | 'blob'>; readonly index: Pick<ContentIndex, 'tag' | 'linked'> },
  reference: string,
  known?: Descriptor
): Promise<ImageSource> {
  const { registry, repository, tag, digest } = parseReference(reference)
  const scope = scopeOf({ registry, repository })
  const root = known ?? (digest === undefined ? (await index.tag(scope, tag ?? ''))?.descriptor : await index.linked(scope, digest))
  if (root === undefined) throw new LayerswarmError('IMAGE_UNKNOWN', { detail: reference.slice(0, 300) })
  return {
    root,
    async *read({ digest, mediaType }, { from = 0, ...options } = {}) {
      const ref: ContentRef = { registry, repository, digest, kind: isManifestType(mediaType) ? 'manifest' : 'blob' }
      const found = await images.find(ref, options)
      if (ref.kind === 'manifest') {
        yield (await images.manifest(found, options)).bytes.subarray(from)
        return
      }
      await using open = await images.blob(found, options)
      if (from < open.size) yield* open.read({ start: from, end: open.size }, options)
    },
    [Symbol.asyncDispose]: async () => undefined
  }
}

/**
 * An image that another program on this host knows by name. What it has is proven before it is read; what it lacks is
 * fetched as of any {@link namedSource}.
 * @throws {LayerswarmError} IMAGE_UNKNOWN, REFERENCE_INVALID, CONTAINERD_FAILED
 */
export async function foreignSource(
  deps: Parameters<typeof namedSource>[0] & { readonly store: Pick<BlobStore, 'open'>; readonly foreign: ForeignSource },
  reference: string,
  options: Abortable = {}
): Promise<ImageSource> {
  const { store, foreign } = deps
  await foreign.look(options)
  const root = foreign.root(parseReference(reference))
  if (root === undefined) throw new LayerswarmError('IMAGE_UNKNOWN', { detail: `${reference.slice(0, 300)} in containerd` })
  const elsewhere = await namedSource(deps, reference, root)
  const prove: ImageSource['prove'] = async ({ digest }, how) => {
    if ((await foreign.prove(digest, how)) !== false) return
    throw new LayerswarmError('DIGEST_MISMATCH', { detail: `${digest} in containerd`, blame: 'local' })
  }
  return {
    root,
    prove,
    async *read(content, { from = 0, ...abortable } = {}) {
      await prove(content, abortable)
      await using reader = await store.open(content.digest)
      if (reader?.complete === true) yield* reader.read({ start: from, end: reader.layout.size }, abortable)
      else yield* elsewhere.read(content, { from, ...abortable })
    },
    [Symbol.asyncDispose]: async () => undefined
  }
}

/** An image whose content is all in the store. */
export function storeSource(store: Pick<BlobStore, 'open'>, root: Descriptor): ImageSource {
  return {
    root,
    async *read({ digest }, { from = 0, ...options } = {}) {
      await using reader = await store.open(digest)
      if (reader?.complete !== true) throw new LayerswarmError('BLOB_UNKNOWN', { detail: `${digest} is not in the store` })
      yield* reader.read({ start: from, end: reader.layout.size }, options)
    },
    [Symbol.asyncDispose]: async () => undefined
  }
}
