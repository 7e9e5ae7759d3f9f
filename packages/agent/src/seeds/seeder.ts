import { toldError } from '@layerswarm/core/api/local-api.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Platform } from '@layerswarm/core/image/manifest.ts'
import { parsePlatform } from '@layerswarm/core/image/platform.ts'
import { MAX_REASON, type SeedOrder, type SeedReport } from '@layerswarm/core/wire/directory-protocol.ts'
import type { Logger } from 'pino'
import type { ImageService, PeerDirectory, PullSummary, SourceCounts } from '../ports.ts'

/** One fetches blobs while the other asks for manifests; more would share the same link. */
const CONCURRENT_SEEDS = 2
/** Seeds that wait: a long list of images, and no more memory than a few hundred KiB. */
const MAX_UNDER_WAY = 1024
/** Outcomes that are told again to a tracker that missed them. */
const MAX_ENDED = 1024
const NOTHING: SourceCounts = { local: 0, peer: 0, registry: 0 }

export interface SeederDeps {
  readonly directory: Pick<PeerDirectory, 'events' | 'tell'>
  readonly images: Pick<ImageService, 'pull'>
  readonly clock: Clock
  readonly log: Logger
}

interface Job {
  readonly order: SeedOrder
  readonly stop: AbortController
  /** What was told last. */
  report: SeedReport
}

/**
 * Fetches images because the tracker says so, some at a time in the order of asking, and tells how it goes. It goes on
 * while there is no tracker; one that says the same again is told the present state.
 */
export class Seeder implements AsyncDisposable {
  readonly #deps: SeederDeps
  readonly #stop = new AbortController()
  /** By seed; those under way. */
  readonly #jobs = new Map<string, Job>()
  readonly #waiting: Job[] = []
  readonly #running = new Set<Promise<void>>()
  /** By seed; the latest last. */
  readonly #ended = new Map<string, SeedReport>()
  #following: Promise<void> = Promise.resolve()

  constructor(deps: SeederDeps) {
    this.#deps = deps
  }

  /** Does what the directory says from now on. */
  start(): void {
    this.#following = this.#follow(this.#deps.directory.events({ signal: this.#stop.signal }))
  }

  /** Gives up what is under way, without a word: the tracker hears that this host is gone, and asks again when it is back. */
  async [Symbol.asyncDispose](): Promise<void> {
    const reason = new LayerswarmError('STOPPING')
    this.#stop.abort(reason)
    for (const { stop } of this.#jobs.values()) stop.abort(reason)
    await Promise.all([this.#following, ...this.#running])
  }

  async #follow(events: ReturnType<PeerDirectory['events']>): Promise<void> {
    try {
      for await (const event of events) {
        if (event.type === 'seed') this.#take(event.order)
        else if (event.type === 'unseed') this.#giveUp(event.id)
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#deps.log.error({ error: describeError(error) }, 'seeds are followed no longer')
    }
  }

  #take(order: SeedOrder): void {
    const known = this.#jobs.get(order.id)?.report ?? this.#ended.get(order.id)
    // What failed is worth another try: whoever asks again has seen the failure, or missed it.
    if (known !== undefined && known.state !== 'failed') {
      this.#deps.directory.tell(known)
      return
    }
    const job: Job = {
      order,
      stop: new AbortController(),
      report: { t: 'seeding', id: order.id, state: 'queued', size: 0, counts: NOTHING }
    }
    if (this.#jobs.size >= MAX_UNDER_WAY) {
      this.#end(job, { state: 'failed', error: reasonOf(new LayerswarmError('SEEDS_FULL')) })
      return
    }
    this.#jobs.set(order.id, job)
    this.#waiting.push(job)
    this.#tell(job, {})
    this.#next()
  }

  #giveUp(id: string): void {
    const job = this.#jobs.get(id)
    if (job === undefined) return
    this.#jobs.delete(id)
    const place = this.#waiting.indexOf(job)
    if (place >= 0) this.#waiting.splice(place, 1)
    job.stop.abort(new LayerswarmError('STOPPING', { detail: 'the seed was cancelled' }))
  }

  #next(): void {
    while (this.#running.size < CONCURRENT_SEEDS && !this.#stop.signal.aborted) {
      const job = this.#waiting.shift()
      if (job === undefined) return
      const work = this.#run(job).finally(() => {
        this.#running.delete(work)
        this.#next()
      })
      this.#running.add(work)
    }
  }

  async #run(job: Job): Promise<void> {
    const { log } = this.#deps
    const { id, image } = job.order
    this.#tell(job, { state: 'fetching' })
    try {
      const { digest, bytes, counts, stale, containerd } = await this.#pull(job)
      this.#end(job, {
        state: 'done',
        size: bytes,
        counts,
        digest,
        ...(stale && { stale }),
        ...(containerd && { given: containerd.bytes })
      })
      log.info({ seed: id, image, digest, counts }, 'seeded')
    } catch (error) {
      if (job.stop.signal.aborted) {
        log.debug({ seed: id, image }, 'a seed was given up')
        return
      }
      this.#end(job, { state: 'failed', error: reasonOf(error) })
      log.warn({ seed: id, image, error: describeError(error) }, 'a seed failed')
    }
  }

  async #pull(job: Job): Promise<PullSummary> {
    const { image, platforms, containerd } = job.order
    const blobs = new Map<Digest, SourceCounts>()
    const pulled = new AbortController()
    const telling = this.#tellWhile(job, pulled.signal, () => sum(blobs.values()))
    try {
      return await this.#deps.images.pull(image, {
        signal: job.stop.signal,
        ...(platforms && { platforms: platformsOf(platforms) }),
        ...(containerd && { containerd }),
        onImage: ({ digest, bytes }) => {
          job.report = { ...job.report, digest, size: bytes }
        },
        onProgress: ({ digest, counts }) => blobs.set(digest, counts)
      })
    } finally {
      pulled.abort()
      await telling
    }
  }

  async #tellWhile(job: Job, signal: AbortSignal, counts: () => SourceCounts): Promise<void> {
    const { clock } = this.#deps
    while (true) {
      await clock.sleep(job.order.every, { signal }).catch(() => undefined)
      if (signal.aborted || job.stop.signal.aborted) return
      this.#tell(job, { counts: counts() })
    }
  }

  #tell(job: Job, change: Partial<SeedReport>): void {
    job.report = { ...job.report, ...change }
    this.#deps.directory.tell(job.report)
  }

  #end(job: Job, change: Partial<SeedReport>): void {
    this.#tell(job, change)
    this.#jobs.delete(job.order.id)
    this.#ended.delete(job.order.id)
    this.#ended.set(job.order.id, job.report)
    const [oldest] = this.#ended.keys()
    if (this.#ended.size > MAX_ENDED && oldest !== undefined) this.#ended.delete(oldest)
  }
}

function platformsOf(texts: NonNullable<SeedOrder['platforms']>): 'all' | Platform[] {
  return texts === 'all' ? texts : texts.map(parsePlatform)
}

function reasonOf(error: unknown): NonNullable<SeedReport['error']> {
  const { code, message, remedy } = toldError(error)
  return { code, message: message.slice(0, MAX_REASON), remedy: remedy.slice(0, MAX_REASON) }
}

function sum(counts: Iterable<SourceCounts>): SourceCounts {
  let total = NOTHING
  for (const { local, peer, registry } of counts) {
    total = { local: total.local + local, peer: total.peer + peer, registry: total.registry + registry }
  }
  return total
}
