import { type Claim, type Lease, signClaim, signLease } from '@layerswarm/core/claims.ts'
import { type Clock, systemClock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { type ErrorCode, isLayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, OCTETS } from '@layerswarm/core/image/manifest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { type Identity, newIdentity } from '@layerswarm/core/p2p/identity.ts'
import type { FixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { MemoryDirectory } from '@layerswarm/testkit/memory-directory.ts'
import { MemoryPeerNetwork } from '@layerswarm/testkit/memory-peers.ts'
import { MemoryRegistryClient } from '@layerswarm/testkit/memory-registry-client.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import type { BlobStore, ContentRef, OpenContent, RegistryClient } from '../../src/ports.ts'
import { UndiciRegistryClient } from '../../src/registry/registry-client.ts'
import { registrySource } from '../../src/registry/registry-source.ts'
import { SwarmContentService } from '../../src/swarm/content-service.ts'
import { OriginAccess } from '../../src/swarm/origin-access.ts'
import { Swarm } from '../../src/swarm/swarm.ts'

const REPOSITORY = 'library/app'

export interface BenchOptions {
  readonly clock?: Clock
  readonly connected?: boolean
  readonly store?: BlobStore
  /** The registry is reached by this in place of the real client. */
  readonly client?: RegistryClient
  readonly knownPeers?: readonly string[]
  /** Whether the registry proves that what it sends is its own. */
  readonly overTls?: boolean
  /** What this host is limited to, bytes a second. */
  readonly linkRate?: number
}

/** One agent's swarm and content service: a real registry over loopback, peers, tracker and store in memory. */
export class SwarmBench implements AsyncDisposable {
  readonly store: BlobStore
  readonly registry: FakeRegistry
  readonly client: RegistryClient
  readonly peers: MemoryPeerNetwork
  readonly directory: MemoryDirectory
  readonly swarm: Swarm
  readonly service: SwarmContentService
  readonly identity: Identity
  readonly tracker: Identity
  readonly failures: string[] = []
  readonly received = { peer: 0, registry: 0 }
  readonly #parts: AsyncDisposableStack

  static async open(options: BenchOptions = {}): Promise<SwarmBench> {
    return new SwarmBench(options, await FakeRegistry.start(), await newIdentity(), await newIdentity())
  }

  private constructor(options: BenchOptions, registry: FakeRegistry, identity: Identity, tracker: Identity) {
    const { clock = systemClock, connected = false, store = new MemoryBlobStore(), knownPeers = [] } = options
    const log = createLogger({ level: 'silent' })
    this.#parts = new AsyncDisposableStack()
    this.registry = this.#parts.use(registry)
    this.identity = identity
    this.tracker = tracker
    this.store = this.#parts.use(store)
    this.client =
      options.client ??
      this.#parts.use(
        new UndiciRegistryClient({ log }, { registries: new Map([[registry.host, { insecure: true }]]), userAgent: 'layerswarm/test' })
      )
    this.peers = new MemoryPeerNetwork(identity.id)
    this.directory = new MemoryDirectory({ connected })
    this.directory.trusted.add(tracker.id)
    const random = new SeededRandom(1)
    this.swarm = this.#parts.use(
      new Swarm({
        store,
        peers: this.peers,
        directory: this.directory,
        registrySource: (ref, layout) => registrySource(this.client, ref, layout),
        overTls: () => options.overTls ?? true,
        key: identity.key,
        clock,
        log,
        random: () => random.next(),
        metrics: {
          pieceFailure: (reason) => this.failures.push(reason),
          received: (source, bytes) => {
            this.received[source] += bytes
          },
          committed: () => undefined
        }
      })
    )
    this.service = this.#parts.use(
      new SwarmContentService({
        linkRate: options.linkRate,
        store,
        swarm: this.swarm,
        directory: this.directory,
        registry: this.client,
        access: new OriginAccess({ registry: this.client, clock }),
        knownPeers: () => knownPeers.map((id) => ({ id, addrs: [], name: id })),
        clock,
        log
      })
    )
  }

  /** Puts a blob into the registry. */
  async put(blob: FixtureBlob): Promise<ContentRef> {
    if (this.client instanceof MemoryRegistryClient) this.client.put(this.scope, 'blob', blob.bytes)
    else await this.registry.putBlob(REPOSITORY, blob.bytes)
    return this.ref(blob.digest)
  }

  get scope(): string {
    return `${this.registry.host}/${REPOSITORY}`
  }

  ref(digest: Digest): ContentRef {
    return { registry: this.registry.host, repository: REPOSITORY, digest, kind: 'blob' }
  }

  /** Opens a blob as a client's request does, knowing its size. */
  async open(blob: FixtureBlob): Promise<OpenContent> {
    return await this.service.open(this.ref(blob.digest), { size: blob.layout.size })
  }

  async lease(blob: FixtureBlob, run: number, holder: string = this.identity.id): Promise<Lease> {
    return await signLease(this.tracker.key, { blob: blob.digest, run, holder, serial: run, by: this.tracker.id })
  }

  /** A claim of another host on one piece, under a lease of the tracker. */
  async claim(author: Identity, blob: FixtureBlob, piece: number, hash: Uint8Array = blob.hash(piece)): Promise<Claim> {
    const lease = await this.lease(blob, Math.floor(piece / 8), author.id)
    return await signClaim(author.key, { blob: blob.digest, first: piece, hashes: hash, author: author.id, lease })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync()
  }
}

/** All bytes of the range, the whole by default. */
export async function bytesOf(content: OpenContent, range = { start: 0, end: content.size }): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of content.read(range)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** A blob as the manifest of an image names it. */
export function layerOf({ digest, layout }: FixtureBlob): Descriptor {
  return { digest, size: layout.size, mediaType: OCTETS }
}

/** Whether an error has one of the codes. */
export function codeIs(...codes: ErrorCode[]): (error: unknown) => boolean {
  return (error) => isLayerswarmError(error, ...codes)
}
