import { z } from 'zod'
import { type Digest, isDigest } from '../digest.ts'
import { LayerswarmError } from '../errors.ts'
import { MAX_BLOB_SIZE } from '../piece-layout.ts'

/** Largest manifest taken or given out: what containerd and containers/image accept too. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024

export const MEDIA_TYPES = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws'
} as const

/** Bytes of which nothing is known: the type of every blob, and of a manifest whose type is yet to be read from it. */
export const OCTETS = 'application/octet-stream'

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string | undefined
  readonly 'os.version'?: string | undefined
}

export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  readonly platform?: Platform | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

export interface Manifest {
  readonly mediaType: string
  /** Manifests that an index names; empty otherwise. */
  readonly manifests: readonly Descriptor[]
  /** Absent for an index. */
  readonly config: Descriptor | undefined
  readonly layers: readonly Descriptor[]
  readonly subject: Descriptor | undefined
}

const descriptor = z.object({
  mediaType: z.string().min(1).max(255),
  digest: z.string().refine(isDigest, 'not a digest'),
  size: z.int().min(0).max(MAX_BLOB_SIZE),
  platform: z
    .object({ os: z.string(), architecture: z.string(), variant: z.string().optional(), 'os.version': z.string().optional() })
    .optional(),
  annotations: z.record(z.string(), z.string()).optional()
}) as unknown as z.ZodType<Descriptor>

const document = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  manifests: z.array(descriptor).optional(),
  config: descriptor.optional(),
  layers: z.array(descriptor).optional(),
  subject: descriptor.optional()
})

/**
 * Reads an OCI or Docker manifest or index.
 * @param mediaType what the registry called it; checked against the document, which may omit it
 * @throws {LayerswarmError} MANIFEST_INVALID for anything else, a document that is both an index and a manifest included
 */
export function parseManifest(bytes: Uint8Array, mediaType?: string): Manifest {
  if (bytes.byteLength > MAX_MANIFEST_BYTES) throw new LayerswarmError('MANIFEST_INVALID', { detail: `${bytes.byteLength} bytes` })
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new LayerswarmError('MANIFEST_INVALID', { detail: 'not JSON', cause })
  }
  const parsed = document.safeParse(value)
  if (!parsed.success) throw new LayerswarmError('MANIFEST_INVALID', { detail: z.prettifyError(parsed.error) })
  const { manifests, config, layers, subject, mediaType: own } = parsed.data
  if (manifests !== undefined && (config !== undefined || layers !== undefined)) {
    throw new LayerswarmError('MANIFEST_INVALID', { detail: 'it is both an index and a manifest' })
  }
  if (manifests === undefined && config === undefined)
    throw new LayerswarmError('MANIFEST_INVALID', { detail: 'neither an index nor a manifest' })
  if (own !== undefined && mediaType !== undefined && own !== mediaType) {
    throw new LayerswarmError('MANIFEST_INVALID', { detail: `the registry calls it ${mediaType}, the document ${own}` })
  }
  return {
    mediaType: own ?? mediaType ?? (manifests === undefined ? MEDIA_TYPES.ociManifest : MEDIA_TYPES.ociIndex),
    manifests: manifests ?? [],
    config,
    layers: layers ?? [],
    subject
  }
}

/** Everything that `manifest` names and a client may ask for next, each digest once. */
export function childrenOf(manifest: Manifest): Descriptor[] {
  const all = [...manifest.manifests, ...(manifest.config === undefined ? [] : [manifest.config]), ...manifest.layers]
  return [...new Map(all.map((child) => [child.digest, child])).values()]
}

export function isManifestType(mediaType: string): boolean {
  return Object.values<string>(MEDIA_TYPES).includes(mediaType)
}
