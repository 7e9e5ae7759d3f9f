import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type Flags, loadConfig } from '@layerswarm/core/config/load.ts'
import { type Digest, hexOf } from '@layerswarm/core/digest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { agentOptions } from '../../src/config.ts'
import type { LocalImages } from '../../src/images/local-images.ts'
import { openLocal } from '../../src/local.ts'
import type { ImageService, LocalImageService } from '../../src/ports.ts'
import { TempDir } from '../store/temp-store.ts'

/** A host without a daemon, real from its disk to the registry. */
export class LocalHost implements AsyncDisposable {
  readonly registry: FakeRegistry
  readonly dir: TempDir
  readonly images: ImageService
  readonly local: LocalImages
  readonly #parts: AsyncDisposableStack

  private constructor(
    registry: FakeRegistry,
    dir: TempDir,
    opened: { images: ImageService; local: LocalImages },
    parts: AsyncDisposableStack
  ) {
    this.registry = registry
    this.dir = dir
    this.images = opened.images
    this.local = opened.local
    this.#parts = parts
  }

  static async open(flags: Flags = {}): Promise<LocalHost> {
    await using parts = new AsyncDisposableStack()
    const registry = parts.use(await FakeRegistry.start())
    const dir = parts.use(await TempDir.make())
    const all = { dataDir: dir.path, insecureRegistry: [registry.host], containerdAddress: 'none', ...flags }
    const { config } = await loadConfig(agentOptions, { flags: all, config: '/dev/null' })
    const opened = parts.use(await openLocal(config, { log: createLogger({ level: 'silent' }) }))
    return new LocalHost(registry, dir, opened, parts.move())
  }

  blobPath(digest: Digest): string {
    return join(this.dir.path, 'blobs', 'sha256', hexOf(digest))
  }

  /** Flips a byte of a blob on disk. */
  async rot(digest: Digest, at = 0): Promise<void> {
    const file = await open(this.blobPath(digest), 'r+')
    try {
      const byte = Buffer.alloc(1)
      await file.read(byte, 0, 1, at)
      await file.write(Buffer.from([(byte[0] ?? 0) ^ 0xff]), 0, 1, at)
    } finally {
      await file.close()
    }
  }

  async check(request: Parameters<LocalImageService['check']>[0]) {
    const lines = await Array.fromAsync(this.local.check(request))
    const summary = lines.flatMap((line) => ('summary' in line ? [line.summary] : []))[0]
    if (summary === undefined) throw new Error('no summary')
    return { summary, images: lines.flatMap((line) => ('image' in line ? [line.image] : [])), lines }
  }

  async list(platforms?: 'all' | string[]) {
    const lines = await Array.fromAsync(this.local.list(platforms))
    const totals = lines.flatMap((line) => ('totals' in line ? [line.totals] : []))[0]
    return { images: lines.flatMap((line) => ('image' in line ? [line.image] : [])), totals }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync()
  }
}
