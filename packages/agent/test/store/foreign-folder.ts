import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ForeignFile } from '@layerswarm/agent/ports.ts'
import { type Digest, hexOf } from '@layerswarm/core/digest.ts'
import type { FixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'

/** A folder of blobs that another program keeps, by their digests. */
export class ForeignFolder implements AsyncDisposable {
  readonly path: string
  readonly files = new Map<Digest, ForeignFile>()

  private constructor(path: string) {
    this.path = path
  }

  static async make(): Promise<ForeignFolder> {
    return new ForeignFolder(await mkdtemp(join(tmpdir(), 'foreign-')))
  }

  /** @param options.bytes what lies there, if it is not what the digest says */
  async add(blob: FixtureBlob, { bytes = blob.bytes, kept = true }: { bytes?: Uint8Array; kept?: boolean } = {}): Promise<string> {
    const path = join(this.path, hexOf(blob.digest))
    await writeFile(path, bytes)
    this.files.set(blob.digest, { digest: blob.digest, size: blob.layout.size, path, kept })
    return path
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}
