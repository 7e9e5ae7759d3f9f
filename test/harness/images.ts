import { createCipheriv, createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'

export type Compression = 'gzip' | 'zstd'
/** How an image is written: a lone manifest, an index with a BuildKit-like attestation, or Docker's own v2s2. */
export type ImageForm = 'manifest' | 'index' | 'docker'

export interface ImageSpec {
  readonly name: string
  readonly form?: ImageForm
  readonly layers: readonly LayerSpec[]
}

/** One layer with a file of `bytes` incompressible bytes; the same seed, size and compression give the same digest. */
export interface LayerSpec {
  readonly seed: string
  readonly bytes: number
  readonly compression?: Compression
}

export interface Content {
  readonly digest: string
  readonly size: number
  readonly mediaType: string
}

/** An image on disk, ready to be pushed: `blobs/<hex>` under `dir`. */
export interface Image {
  readonly name: string
  readonly dir: string
  /** What the tag points to: the manifest, or the index. */
  readonly top: Content
  /** The manifest of the platform. */
  readonly manifest: Content
  readonly config: Content
  readonly layers: readonly Content[]
  /** Children before parents, the top last. */
  readonly manifests: readonly Content[]
  /** Every config and layer, those of the attestation too. */
  readonly blobs: readonly Content[]
}

const OCI = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: { gzip: 'application/vnd.oci.image.layer.v1.tar+gzip', zstd: 'application/vnd.oci.image.layer.v1.tar+zstd' }
}
const DOCKER = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: { gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip', zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd' }
}
const CREATED = '2024-01-01T00:00:00Z'

/** Builds an image below `dir`, the same bytes each time. */
export function buildImage(dir: string, spec: ImageSpec): Image {
  mkdirSync(join(dir, 'blobs'), { recursive: true })
  const types = spec.form === 'docker' ? DOCKER : OCI
  const layers: Content[] = []
  const diffIds: string[] = []
  for (const layer of spec.layers) {
    const compression = layer.compression ?? 'gzip'
    const tar = tarOf(`data/${layer.seed}`, noise(layer.seed, layer.bytes))
    diffIds.push(digestOf(tar))
    layers.push(put(dir, compress(tar, compression), types.layer[compression]))
  }
  const config = putJson(dir, types.config, {
    created: CREATED,
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/true'], Labels: { name: spec.name } },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: spec.layers.map((layer) => ({ created: CREATED, created_by: layer.seed }))
  })
  const manifest = putJson(dir, types.manifest, { schemaVersion: 2, mediaType: types.manifest, config, layers })
  const image = { name: spec.name, dir, manifest, config, layers }
  if (spec.form !== 'index') return { ...image, top: manifest, manifests: [manifest], blobs: [config, ...layers] }
  const attestation = attest(dir, manifest)
  const index = putJson(dir, OCI.index, {
    schemaVersion: 2,
    mediaType: OCI.index,
    manifests: [
      { ...manifest, platform: { architecture: 'amd64', os: 'linux' } },
      {
        ...attestation.manifest,
        platform: { architecture: 'unknown', os: 'unknown' },
        annotations: { 'vnd.docker.reference.digest': manifest.digest, 'vnd.docker.reference.type': 'attestation-manifest' }
      }
    ]
  })
  return {
    ...image,
    top: index,
    manifests: [manifest, attestation.manifest, index],
    blobs: [config, ...layers, ...attestation.blobs]
  }
}

function attest(dir: string, subject: Content): { manifest: Content; blobs: Content[] } {
  const statement = putJson(dir, 'application/vnd.in-toto+json', {
    _type: 'https://in-toto.io/Statement/v0.1',
    predicateType: 'https://slsa.dev/provenance/v0.2',
    subject: [{ name: 'test', digest: { sha256: subject.digest.slice('sha256:'.length) } }],
    predicate: {}
  })
  const config = putJson(dir, OCI.config, {
    architecture: 'unknown',
    os: 'unknown',
    config: {},
    rootfs: { type: 'layers', diff_ids: [statement.digest] }
  })
  const layer = { ...statement, annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v0.2' } }
  const manifest = putJson(dir, OCI.manifest, { schemaVersion: 2, mediaType: OCI.manifest, config, layers: [layer] })
  return { manifest, blobs: [config, statement] }
}

function putJson(dir: string, mediaType: string, value: unknown): Content {
  return put(dir, Buffer.from(JSON.stringify(value)), mediaType)
}

function put(dir: string, bytes: Uint8Array, mediaType: string): Content {
  const digest = digestOf(bytes)
  writeFileSync(blobFile(dir, digest), bytes)
  return { mediaType, digest, size: bytes.length }
}

/** Where a built image keeps the blob of this digest. */
export function blobFile(dir: string, digest: string): string {
  return join(dir, 'blobs', digest.slice('sha256:'.length))
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** Bytes that no compressor shrinks, the same for the same seed: a keystream, which is as fast as it gets. */
function noise(seed: string, bytes: number): Buffer {
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes))
}

function compress(tar: Buffer, compression: Compression): Buffer {
  // The content does not compress, so a higher level would only take longer.
  return compression === 'gzip' ? gzipSync(tar, { level: 1 }) : zstdCompressSync(tar)
}

/** A POSIX tar archive with one file. */
function tarOf(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(512)
  const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, '0')}\0`
  header.write(name, 0)
  header.write(octal(0o644, 8) + octal(0, 8) + octal(0, 8) + octal(content.length, 12) + octal(0, 12), 100)
  header.write(' '.repeat(8), 148)
  header.write('0', 156)
  header.write('ustar\x0000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512)
  return Buffer.concat([header, content, padding, Buffer.alloc(1024)])
}
