import { createHash, type Hash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Readable, Transform } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { createGzip, createZstdCompress } from 'node:zlib'
import type { Digest } from '@layerswarm/core/digest.ts'
import { pack } from 'tar-stream'
import { SeededRandom } from '../seeded-random.ts'

/** Files are cut at this size: a layer of any size is a few files, as in real images. */
const FILE_BYTES = 16 * 1024 * 1024
const NOISE_CHUNK = 256 * 1024

export type Compression = 'gzip' | 'zstd' | 'none'

export interface RootFile {
  readonly content: string | Uint8Array
  /** Permission bits; default 0o644. */
  readonly mode?: number
}

export interface LayerSpec {
  /** Layers with the same spec have the same bytes. */
  readonly seed: string
  /** Bytes of incompressible files under `data/`; the layer is a little larger. */
  readonly size: number
  /** Default gzip. */
  readonly compression?: Compression
  /** Further files by absolute path, for example a program to run. */
  readonly files?: Readonly<Record<string, RootFile>>
}

/** Content by digest that can be read any number of times. */
export interface TestBlob {
  readonly digest: Digest
  readonly size: number
  open(): AsyncIterable<Uint8Array>
}

export interface BuiltLayer {
  readonly blob: TestBlob
  readonly compression: Compression
  /** Digest of the uncompressed archive. */
  readonly diffId: Digest
}

export function blobOf(bytes: Uint8Array): TestBlob {
  return {
    digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest,
    size: bytes.byteLength,
    async *open() {
      yield bytes
    }
  }
}

/**
 * Writes a layer as a real tar archive.
 * @param dir where to keep its bytes; in memory when left out
 */
export async function buildLayer(spec: LayerSpec, dir?: string): Promise<BuiltLayer> {
  const { compression = 'gzip' } = spec
  const tarHash = createHash('sha256')
  const blobHash = createHash('sha256')
  const size = { bytes: 0 }
  const archive = pack()
  const steps = [Readable.from(archive), tapped(tarHash), compressor(compression), tapped(blobHash, size)] as const
  const filled = fill(archive, spec)
  if (dir === undefined) {
    const [bytes] = await Promise.all([buffer(steps[3]), pipeline([...steps]), filled])
    return { blob: blobOf(bytes), compression, diffId: digestFrom(tarHash) }
  }
  await mkdir(dir, { recursive: true })
  const partial = join(dir, `partial-${createHash('sha256').update(JSON.stringify(spec)).digest('hex')}`)
  await Promise.all([pipeline([...steps, createWriteStream(partial)]), filled])
  const digest = digestFrom(blobHash)
  const path = join(dir, digest.replace(':', '-'))
  await rename(partial, path)
  return { blob: { digest, size: size.bytes, open: () => createReadStream(path) }, compression, diffId: digestFrom(tarHash) }
}

function digestFrom(hash: Hash): Digest {
  return `sha256:${hash.digest('hex')}` as Digest
}

function compressor(compression: Compression): Transform {
  // The fastest levels: the content does not shrink anyhow.
  if (compression === 'gzip') return createGzip({ level: 1 })
  return compression === 'zstd' ? createZstdCompress() : new PassThrough()
}

function tapped(hash: Hash, size = { bytes: 0 }): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      size.bytes += chunk.byteLength
      done(null, chunk)
    }
  })
}

async function fill(archive: ReturnType<typeof pack>, spec: LayerSpec): Promise<void> {
  // All that could differ between two runs is fixed: times, owners, order.
  const common = { mtime: new Date(0), uid: 0, gid: 0 }
  const made = new Set<string>()
  const directories = (path: string) => {
    const parts = path.split('/').slice(0, -1)
    for (let depth = 1; depth <= parts.length; depth++) {
      const name = `${parts.slice(0, depth).join('/')}/`
      if (!made.has(name)) archive.entry({ ...common, name, type: 'directory', mode: 0o755 })
      made.add(name)
    }
  }
  for (const [path, { content, mode = 0o644 }] of Object.entries(spec.files ?? {})) {
    const name = path.replace(/^\/+/, '')
    directories(name)
    archive.entry({ ...common, name, mode }, Buffer.from(content))
  }
  const label = spec.seed.replaceAll(/[^A-Za-z0-9._-]/g, '-')
  for (let at = 0, file = 0; at < spec.size; at += FILE_BYTES, file++) {
    const size = Math.min(FILE_BYTES, spec.size - at)
    const name = `data/${label}-${file}.bin`
    directories(name)
    await pipeline(Readable.from(noise(`${spec.seed}/${file}`, size)), archive.entry({ ...common, name, size, mode: 0o644 }))
  }
  archive.finalize()
}

function* noise(seed: string, size: number): Generator<Uint8Array> {
  const random = new SeededRandom(seed)
  for (let left = size; left > 0; left -= NOISE_CHUNK) yield random.bytes(Math.min(NOISE_CHUNK, left))
}
