import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, isLayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import { layoutOf } from '@layerswarm/core/piece-layout.ts'
import type { Logger } from 'pino'
import type { Abortable, BlobStore, ContentRef, ContentService, OpenContent, PeerDirectory, RegistryClient } from '../ports.ts'
import { StoredContent, TransferContent } from './open-content.ts'
import type { OriginAccess } from './origin-access.ts'
import { PassThroughContent } from './pass-through.ts'
import type { Swarm } from './swarm.ts'
import type { Transfer } from './transfer.ts'

/** Layers whose image is remembered, for one plan per image. */
const MAX_LAYERS = 16_384
/** A fetch that no client reads goes on this long: clients retry, and queue the layers of an image, ms. */
const LINGER_MS = 30_000
/** Times a blob is looked for again when its fetch ends just as it is joined. */
const MAX_ATTEMPTS = 3

interface Image {
  readonly scope: string
  readonly layers: readonly Descriptor[]
}

/** Blobs fetched together, and the clients that read any of them. */
interface Group {
  readonly blobs: readonly Digest[]
  readers: number
  /** When it was last left without readers, on the clock. */
  leftAt: number
}

export interface ContentServiceDeps {
  readonly store: Pick<BlobStore, 'open' | 'stat'>
  readonly swarm: Swarm
  readonly directory: PeerDirectory
  readonly registry: Pick<RegistryClient, 'content' | 'resolve'>
  readonly access: OriginAccess
  /** Peers of earlier plans, for when no tracker answers. */
  readonly knownPeers: () => Parameters<Swarm['introduce']>[0]
  readonly clock: Clock
  readonly log: Logger
  /** What this host may move, bytes a second, so that others are not made to wait for it. */
  readonly linkRate?: number | undefined
}

/** Hit, join, or fetch: the one place where a request for content by digest meets the store and the swarm. */
export class SwarmContentService implements ContentService {
  readonly #deps: ContentServiceDeps
  readonly #images = new Map<Digest, Image>()
  readonly #groups = new Map<Digest, Group>()
  readonly #starting = new Map<Digest, Promise<Transfer>>()
  readonly #stop = new AbortController()

  constructor(deps: ContentServiceDeps) {
    this.#deps = deps
  }

  expect(scope: string, layers: readonly Descriptor[]): void {
    const image = { scope, layers }
    for (const layer of layers) {
      this.#images.delete(layer.digest)
      this.#images.set(layer.digest, image)
    }
    for (const oldest of this.#images.keys()) {
      if (this.#images.size <= MAX_LAYERS) break
      this.#images.delete(oldest)
    }
  }

  async lookup(scope: string, digest: Digest, options: Abortable = {}): Promise<{ size: number; mediaType?: string } | undefined> {
    const { directory, log } = this.#deps
    if (!directory.connected) return undefined
    try {
      const plan = await directory.plan({ scope, blobs: [{ digest }], origin: false, want: false }, options)
      const found = plan.blobs.find((blob) => blob.digest === digest)
      if (found?.known !== true || found.size === undefined) return undefined
      return { size: found.size, ...(found.mediaType !== undefined && { mediaType: found.mediaType }) }
    } catch (error) {
      options.signal?.throwIfAborted()
      log.debug({ error: describeError(error) }, 'the tracker could not be asked')
      return undefined
    }
  }

  async open(ref: ContentRef, hint: { readonly size?: number }, options: Abortable = {}): Promise<OpenContent> {
    let size = hint.size
    for (let attempt = 1; ; attempt++) {
      const reader = await this.#deps.store.open(ref.digest)
      if (reader?.complete === true) return new StoredContent(reader)
      await reader?.[Symbol.asyncDispose]()
      size ??= await this.#sizeOf(ref, options)
      options.signal?.throwIfAborted()
      const content = await this.#joinOrStart(ref, size, attempt === MAX_ATTEMPTS)
      if (content !== undefined) return content
    }
  }

  /** @returns undefined when the fetch ended while it was joined, most likely since the blob is complete now. */
  async #joinOrStart(ref: ContentRef, size: number, last: boolean): Promise<OpenContent | undefined> {
    try {
      const transfer = this.#deps.swarm.running(ref.digest) ?? (await this.#start(ref, size))
      const live = await this.#deps.store.open(ref.digest)
      if (live?.complete === true) return new StoredContent(live, transfer.counts)
      if (live !== undefined) return this.#join(ref, transfer, live)
      // It was complete, and its file turned out corrupt: a fetch that lingers must not keep another from beginning.
      if (transfer.partial.complete) await this.#deps.swarm.abandon(ref.digest, new Error('the blob is gone'))
      throw transfer.registryError ?? new Error('the fetch ended while it was joined')
    } catch (error) {
      if (isLayerswarmError(error, 'STORE_FULL', 'STORE_FAILED')) {
        this.#deps.log.warn({ digest: ref.digest, error: describeError(error) }, 'the store cannot take this blob; it passes through')
        return new PassThroughContent(ref, size, this.#deps.registry)
      }
      if (last || isLayerswarmError(error)) throw error
      return undefined
    }
  }

  #join(ref: ContentRef, transfer: Transfer, live: ConstructorParameters<typeof TransferContent>[0]['reader']): OpenContent {
    const group = this.#groups.get(ref.digest) ?? { blobs: [ref.digest], readers: 0, leftAt: 0 }
    this.#groups.set(ref.digest, group)
    group.readers++
    return new TransferContent({
      reader: live,
      transfer,
      moved: () => this.#deps.swarm.moved(transfer.pull),
      waiting: (piece, waiting) => this.#deps.swarm.reader(ref.digest, piece, waiting),
      passThrough: () => new PassThroughContent(ref, live.layout.size, this.#deps.registry),
      closed: () => {
        group.readers--
        if (group.readers === 0) void this.#linger(group)
      }
    })
  }

  async #linger(group: Group): Promise<void> {
    const leftAt = this.#deps.clock.now()
    group.leftAt = leftAt
    try {
      await this.#deps.clock.sleep(LINGER_MS, { signal: this.#stop.signal })
    } catch {
      return
    }
    for (const blob of group.blobs) {
      // Somebody reads, or has read since and may come back, too.
      if (group.readers > 0 || group.leftAt !== leftAt) return
      // It was begun anew since, on behalf of others.
      if (this.#groups.get(blob) !== group) continue
      this.#groups.delete(blob)
      if (this.#deps.swarm.running(blob)?.partial.complete === false) {
        this.#deps.log.info({ digest: blob }, 'nobody reads this blob any more; its fetch is suspended')
        await this.#deps.swarm.abandon(blob, new Error('no client waits for this blob'))
      }
    }
  }

  async #sizeOf(ref: ContentRef, options: Abortable): Promise<number> {
    const known = await this.lookup(`${ref.registry}/${ref.repository}`, ref.digest, options)
    return known?.size ?? (await this.#deps.registry.resolve(ref, options)).size
  }

  #start(ref: ContentRef, size: number): Promise<Transfer> {
    const running = this.#starting.get(ref.digest)
    if (running !== undefined) return running
    const starting = this.#startGroup(ref, size).finally(() => this.#starting.delete(ref.digest))
    this.#starting.set(ref.digest, starting)
    return starting
  }

  /** Starts a blob and, where it is a layer of an image that was served, the missing ones of that image with it. */
  async #startGroup(ref: ContentRef, size: number): Promise<Transfer> {
    const { swarm, log } = this.#deps
    const scope = `${ref.registry}/${ref.repository}`
    const image = this.#images.get(ref.digest)
    const first = swarm.running(ref.digest) ?? (await swarm.start(ref, layoutOf(size)))
    const wanted = [{ digest: ref.digest, size }]
    for (const layer of image?.scope === scope ? image.layers : []) {
      if (layer.digest === ref.digest || swarm.running(layer.digest) !== undefined || this.#starting.has(layer.digest)) continue
      if ((await this.#deps.store.stat(layer.digest))?.state === 'complete') continue
      try {
        await swarm.start({ ...ref, digest: layer.digest, kind: 'blob' }, layoutOf(layer.size))
        wanted.push({ digest: layer.digest, size: layer.size })
      } catch (error) {
        log.debug({ digest: layer.digest, error: describeError(error) }, 'a layer could not be fetched ahead')
      }
    }
    // In the order in which clients read: from the one that is asked for on. They may have had those before it for long.
    if (image !== undefined) wanted.sort((a, b) => placeAfter(image, ref.digest, a.digest) - placeAfter(image, ref.digest, b.digest))
    const group = { blobs: wanted.map(({ digest }) => digest), readers: 0, leftAt: 0 }
    for (const digest of group.blobs) this.#groups.set(digest, group)
    // Nobody may ever join: the blob that was asked for may be complete before.
    void this.#linger(group)
    void this.#plan(ref, scope, wanted)
    return first
  }

  async #plan(ref: ContentRef, scope: string, blobs: readonly { digest: Digest; size: number }[]): Promise<void> {
    const { swarm, directory, access, log, knownPeers, linkRate } = this.#deps
    try {
      const origin = directory.connected && (await access.granted(ref))
      // What was given up meanwhile is not told to be given up again: the tracker would wait for it for ever.
      const wanted = blobs.filter(({ digest }) => swarm.running(digest) !== undefined)
      if (wanted.length === 0) return
      const want = { scope, blobs: wanted, origin, want: true, ...(linkRate !== undefined && { rate: linkRate }) }
      swarm.planned(await directory.plan(want, { signal: this.#stop.signal }))
    } catch (error) {
      if (this.#stop.signal.aborted) return
      log.debug({ error: describeError(error) }, 'no plan; this host goes by owner order')
      swarm.introduce(knownPeers())
      swarm.planFailed(blobs.map(({ digest }) => digest))
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new Error('the agent is stopping'))
  }
}

/** The place of a layer among those of its image, counted from `first` on and around. */
function placeAfter({ layers }: Image, first: Digest, digest: Digest): number {
  const indexOf = (wanted: Digest) => layers.findIndex((layer) => layer.digest === wanted)
  return (indexOf(digest) - indexOf(first) + layers.length) % layers.length
}
