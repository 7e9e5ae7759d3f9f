import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Digest } from '@layerswarm/core/digest.ts'
import { FsBlobStore, type FsBlobStoreDeps, type FsBlobStoreOptions } from '../../src/store/fs-blob-store.ts'

/** A directory of the test's own, removed when it is disposed. */
export class TempDir {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async make(): Promise<TempDir> {
    return new TempDir(await mkdtemp(join(tmpdir(), 'layerswarm-store-')))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

export const ROOMY = 1024 ** 3

export async function openStore(dir: TempDir, options: Partial<FsBlobStoreOptions> = {}, deps: FsBlobStoreDeps = {}): Promise<FsBlobStore> {
  return await FsBlobStore.open({ dataDir: dir.path, maxBytes: ROOMY, ...options }, deps)
}

/** Where a partial blob and its record lie. */
export function ingestPath(dir: TempDir, digest: Digest, kind: 'data' | 'side'): string {
  return join(dir.path, 'ingest', `${digest.replace(':', '-')}.${kind}`)
}
