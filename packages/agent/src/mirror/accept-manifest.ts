import { digestOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { isManifestType, MAX_MANIFEST_BYTES, parseManifest } from '@layerswarm/core/image/manifest.ts'
import type { PushedContent, RegistryUploads } from '../ports.ts'
import type { Exchange } from './exchange.ts'
import type { Outcome } from './outcome.ts'
import type { ManifestTarget } from './serve-manifest.ts'

export interface AcceptManifestDeps {
  readonly uploads: Pick<RegistryUploads, 'manifest'>
  readonly pushed: PushedContent
}

/**
 * Takes a manifest: the registry first, which knows whether it has all that the manifest names.
 * @throws {LayerswarmError} MANIFEST_INVALID, MANIFEST_TOO_LARGE, UPLOAD_MISMATCH, BLOB_UNKNOWN, REGISTRY_…
 */
export async function acceptManifest(
  deps: AcceptManifestDeps,
  exchange: Exchange,
  target: ManifestTarget,
  outcome: Outcome
): Promise<void> {
  const { registry, repository, reference } = target
  const bytes = await readWhole(exchange)
  outcome.received(bytes.byteLength)
  const digest = digestOf(bytes, 'digest' in reference ? reference.digest : undefined)
  outcome.digest = digest
  if ('digest' in reference && reference.digest !== digest) throw new LayerswarmError('UPLOAD_MISMATCH', { detail: reference.digest })
  const type = exchange.header('content-type')?.split(';')[0]?.trim() ?? ''
  const manifest = parseManifest(bytes, isManifestType(type) ? type : undefined)
  const { mediaType } = manifest
  const ref =
    'tag' in reference ? { registry, repository, tag: reference.tag } : { registry, repository, digest, kind: 'manifest' as const }
  const { subject } = await deps.uploads.manifest(ref, { bytes, mediaType }, { signal: exchange.signal })
  await deps.pushed.manifest(ref, { bytes, manifest, descriptor: { digest, size: bytes.byteLength, mediaType } })
  outcome.result = 'stored'
  await exchange.send(201, {
    Location: `/v2/${target.written}/manifests/${digest}${target.byNamespace ? `?ns=${encodeURIComponent(registry)}` : ''}`,
    'Docker-Content-Digest': digest,
    'Content-Length': 0,
    // Without it a client lists the manifest by a tag of its subject, as for a registry that does not do so itself.
    ...(subject === undefined ? {} : { 'OCI-Subject': subject })
  })
}

async function readWhole(exchange: Exchange): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = exchange.bodyLength ?? 0
  const tooLarge = (): LayerswarmError => new LayerswarmError('MANIFEST_TOO_LARGE', { detail: `${size} bytes or more` })
  if (size > MAX_MANIFEST_BYTES) throw tooLarge()
  const body = exchange.body()
  size = 0
  for (let step = await body.next(); step.done !== true; step = await body.next()) {
    size += step.value.byteLength
    if (size > MAX_MANIFEST_BYTES) throw tooLarge()
    chunks.push(step.value)
  }
  return Buffer.concat(chunks)
}
