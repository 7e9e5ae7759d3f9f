import { createWriteStream, existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { algorithmOf, type Digest, hexOf } from '@layerswarm/core/digest.ts'
import { type Descriptor, MEDIA_TYPES, type Platform } from '@layerswarm/core/image/manifest.ts'
import { type BuiltLayer, blobOf, buildLayer, type Compression, type LayerSpec, type TestBlob } from './oci-image/layer.ts'

export interface ImageSpec {
  readonly layers: readonly LayerSpec[]
  /** Media types of an OCI image (default) or of Docker's schema 2. */
  readonly flavour?: 'oci' | 'docker'
  /** Wrap the manifest in an index (Docker: a list). */
  readonly index?: boolean
  /** Add an attestation to the index, as BuildKit does; implies `index`. */
  readonly attestation?: boolean
  /** Default: linux on this machine's architecture. */
  readonly platform?: Platform
  /** `Cmd`, `Env` and the like of the image's config. */
  readonly config?: Readonly<Record<string, unknown>>
}

/** An image: everything it consists of by digest, and what its tag points to. */
export interface TestImage {
  /** The index where there is one, else the manifest. */
  readonly root: Descriptor
  /** The manifest of the platform. */
  readonly manifest: Descriptor
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
  /** Manifests and index, children first. */
  readonly manifests: readonly { readonly descriptor: Descriptor; readonly bytes: Uint8Array }[]
  /** Configs and layers, each once. */
  readonly blobs: ReadonlyMap<Digest, TestBlob>
}

const LAYER_TYPES: Readonly<Record<'oci' | 'docker', Readonly<Record<Compression, string>>>> = {
  oci: {
    gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
    zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
    none: 'application/vnd.oci.image.layer.v1.tar'
  },
  docker: {
    gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
    zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
    none: 'application/vnd.docker.image.rootfs.diff.tar'
  }
}
const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json'

function hostPlatform(): Platform {
  return process.arch === 'arm64' ? { os: 'linux', architecture: 'arm64', variant: 'v8' } : { os: 'linux', architecture: 'amd64' }
}

/**
 * Builds an image that container runtimes can unpack. The same spec gives the same digests on every machine of one
 * platform and compressor version; images whose specs share a layer share its bytes.
 * @param dir where to keep layer bytes, for images too large for memory
 */
export async function buildImage(spec: ImageSpec, dir?: string): Promise<TestImage> {
  const { flavour = 'oci', platform = hostPlatform() } = spec
  const docker = flavour === 'docker'
  const built: BuiltLayer[] = []
  for (const layer of spec.layers) built.push(await buildLayer(layer, dir))
  const blobs = new Map<Digest, TestBlob>(built.map(({ blob }) => [blob.digest, blob]))
  const manifests: { descriptor: Descriptor; bytes: Uint8Array }[] = []
  const keep = (mediaType: string, value: object, extra: Partial<Descriptor> = {}): Descriptor => {
    const blob = jsonBlob(value)
    blobs.set(blob.digest, blob)
    return { mediaType, digest: blob.digest, size: blob.size, ...extra }
  }
  const keepManifest = (mediaType: string, value: object, extra: Partial<Descriptor> = {}): Descriptor => {
    const bytes = jsonBytes({ schemaVersion: 2, mediaType, ...value })
    const { digest, size } = blobOf(bytes)
    const descriptor = { mediaType, digest, size, ...extra }
    manifests.push({ descriptor, bytes })
    return descriptor
  }

  const config = keep(docker ? DOCKER_CONFIG : OCI_CONFIG, {
    created: '1970-01-01T00:00:00Z',
    ...platform,
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], ...spec.config },
    rootfs: { type: 'layers', diff_ids: built.map(({ diffId }) => diffId) },
    history: built.map((_, at) => ({ created: '1970-01-01T00:00:00Z', created_by: `layer ${at}` }))
  })
  const layers = built.map(({ blob, compression }) => ({
    mediaType: LAYER_TYPES[flavour][compression],
    digest: blob.digest,
    size: blob.size
  }))
  const manifest = keepManifest(docker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest, { config, layers }, { platform })
  if (spec.index !== true && spec.attestation !== true) return { root: manifest, manifest, config, layers, manifests, blobs }

  const entries = [manifest]
  if (spec.attestation === true) {
    const unknown = { os: 'unknown', architecture: 'unknown' }
    const statement = keep('application/vnd.in-toto+json', {
      _type: 'https://in-toto.io/Statement/v0.1',
      predicateType: 'https://slsa.dev/provenance/v0.2',
      subject: [{ name: 'image', digest: { sha256: hexOf(manifest.digest) } }],
      predicate: {}
    })
    const attestedConfig = keep(OCI_CONFIG, { ...unknown, config: {}, rootfs: { type: 'layers', diff_ids: [statement.digest] } })
    const annotated = { ...statement, annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v0.2' } }
    entries.push(
      keepManifest(
        MEDIA_TYPES.ociManifest,
        { config: attestedConfig, layers: [annotated] },
        {
          platform: unknown,
          annotations: {
            'vnd.docker.reference.digest': manifest.digest,
            'vnd.docker.reference.type': 'attestation-manifest'
          }
        }
      )
    )
  }
  const root = keepManifest(docker ? MEDIA_TYPES.dockerList : MEDIA_TYPES.ociIndex, { manifests: entries })
  return { root, manifest, config, layers, manifests, blobs }
}

/** Bytes of everything the image consists of, each digest once. */
export function imageBytes(image: TestImage): number {
  const sizes = [...image.blobs.values(), ...image.manifests.map(({ descriptor }) => descriptor)]
  return sizes.reduce((sum, { size }) => sum + size, 0)
}

/** Writes the image into an OCI image layout, beside images that are there already. */
export async function writeOciLayout(image: TestImage, dir: string, tag?: string): Promise<void> {
  const blobPath = async (digest: Digest) => {
    const folder = join(dir, 'blobs', algorithmOf(digest))
    await mkdir(folder, { recursive: true })
    return join(folder, hexOf(digest))
  }
  for (const blob of image.blobs.values()) await pipeline(blob.open(), createWriteStream(await blobPath(blob.digest)))
  for (const { descriptor, bytes } of image.manifests) await writeFile(await blobPath(descriptor.digest), bytes)
  const { platform: _, ...root } = image.root
  const entry = tag === undefined ? root : { ...root, annotations: { 'org.opencontainers.image.ref.name': tag } }
  await writeFile(join(dir, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  const index = join(dir, 'index.json')
  const present = existsSync(index) ? (JSON.parse(await readFile(index, 'utf8')) as { manifests: object[] }).manifests : []
  await writeFile(index, jsonBytes({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [...present, entry] }))
}

function jsonBytes(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}

function jsonBlob(value: object): TestBlob {
  return blobOf(jsonBytes(value))
}
