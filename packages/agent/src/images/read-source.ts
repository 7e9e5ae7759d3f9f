import { digestOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, isManifestType, MAX_MANIFEST_BYTES, parseManifest } from '@layerswarm/core/image/manifest.ts'
import type { Abortable, ImageManifest, ImageSource } from '../ports.ts'
import { type WalkedImage, walkImage } from './walk.ts'

/**
 * A small document of a source, verified.
 * @throws {LayerswarmError} MANIFEST_INVALID beyond what a manifest may have, DIGEST_MISMATCH
 */
export async function readDocument(source: ImageSource, content: Descriptor, options: Abortable = {}): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of source.read(content, options)) {
    size += chunk.byteLength
    if (size > MAX_MANIFEST_BYTES) throw new LayerswarmError('MANIFEST_INVALID', { detail: `${content.digest} is too large` })
    chunks.push(chunk)
  }
  const bytes = Buffer.concat(chunks)
  if (digestOf(bytes, content.digest) === content.digest) return bytes
  throw new LayerswarmError('DIGEST_MISMATCH', { detail: content.digest })
}

/** All manifests of a source. Those of an index that it lacks are told as missing. Errors as {@link readDocument} */
export async function walkSource(source: ImageSource, options: Abortable = {}): Promise<WalkedImage> {
  return await walkImage(await manifestOf(source, source.root, options), (child) => manifestOf(source, child, options))
}

async function manifestOf(source: ImageSource, named: Descriptor, options: Abortable): Promise<ImageManifest> {
  const bytes = await readDocument(source, named, options)
  const manifest = parseManifest(bytes, isManifestType(named.mediaType) ? named.mediaType : undefined)
  const descriptor = { digest: named.digest, size: bytes.byteLength, mediaType: manifest.mediaType }
  return { descriptor, bytes, manifest, counts: { local: bytes.byteLength, peer: 0, registry: 0 } }
}
