import { type FSWatcher, type WatchListener, watch } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '@layerswarm/core/clock.ts'
import { type Digest, isDigest } from '@layerswarm/core/digest.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { Nudge } from '@layerswarm/core/nudge.ts'
import type { Logger } from 'pino'
import type { Abortable, ForeignContent, ForeignState } from '../ports.ts'
import { contentRoot, takeInventory } from './inventory.ts'
import type { ContainerdPlace } from './locate.ts'

/** containerd restarts within seconds; a host without it is looked at as often, which costs a look for a file. */
const RETRY_MS = 5_000
/** One that refuses this user, or is stopped for good, is asked ever less often. */
const MAX_RETRY_MS = 60_000
/** A pull changes many things in a row: one look tells them all. */
const SETTLE_MS = 250
/** Times as long as a look takes until the next: a busy host is not kept busy by being looked at. */
const SETTLE_FACTOR = 10
/** In case that a change was told by nobody. */
const ANYHOW_MS = 5 * 60_000
/** What changes the content, or which of it is kept. containerd 1.x tells of no blob that it collected: the folder does. */
const TOPICS = ['/images/', '/content/', '/namespaces/', '/snapshot/commit']

export interface ContainerdContentDeps {
  readonly find: () => Promise<ContainerdPlace | undefined>
  readonly clock: Clock
  readonly log: Pick<Logger, 'info' | 'debug'>
}

/** The content of this host's containerd, followed through its events and the folder of its blobs. */
export class ContainerdContent implements ForeignContent {
  readonly #deps: ContainerdContentDeps
  /** Why containerd is not followed although it is there. */
  #failure: unknown
  /** Has it looked at once; undefined while containerd is not followed. */
  #hurry: (() => void) | undefined
  /** Who wants to know that what there is now was taken in. */
  #waiting: PromiseWithResolvers<void>[] = []

  constructor(deps: ContainerdContentDeps) {
    this.#deps = deps
  }

  /** Why containerd is not followed although it is there; undefined while it is, or there is none. */
  get problem(): string | undefined {
    return this.#failure === undefined ? undefined : describeError(this.#failure)
  }

  /**
   * Resolves once whoever follows has taken in what containerd holds now.
   * @throws {LayerswarmError} CONTAINERD_FAILED; the signal's reason
   */
  async look({ signal }: Abortable = {}): Promise<void> {
    signal?.throwIfAborted()
    if (this.#hurry === undefined) throw this.#notFollowed()
    const taken = Promise.withResolvers<void>()
    this.#waiting.push(taken)
    this.#hurry()
    const stop = (): void => taken.reject(signal?.reason)
    signal?.addEventListener('abort', stop, { once: true })
    try {
      await taken.promise
    } finally {
      signal?.removeEventListener('abort', stop)
    }
  }

  async *states(options: Abortable = {}): AsyncGenerator<ForeignState> {
    const { find, clock } = this.#deps
    let retry = RETRY_MS
    while (true) {
      options.signal?.throwIfAborted()
      const place = await find()
      if (place === undefined) {
        retry = RETRY_MS
        this.#failure = undefined
      } else {
        // Its first look answers whoever asks from now on.
        this.#hurry = () => undefined
        try {
          for await (const state of this.#follow(place, options)) {
            retry = RETRY_MS
            yield state
          }
        } catch (error) {
          options.signal?.throwIfAborted()
          this.#failed(place, error)
        } finally {
          this.#hurry = undefined
          for (const { reject } of this.#waiting.splice(0)) reject(this.#notFollowed())
        }
      }
      await clock.sleep(retry, options)
      retry = Math.min(2 * retry, MAX_RETRY_MS)
    }
  }

  /** Ends by throwing when containerd cannot be asked any more. */
  async *#follow(place: ContainerdPlace, options: Abortable): AsyncGenerator<ForeignState> {
    const { clock, log } = this.#deps
    using parts = new DisposableStack()
    const ended = new AbortController()
    parts.defer(() => ended.abort(new Error('containerd is followed no longer')))
    const signal = options.signal === undefined ? ended.signal : AbortSignal.any([options.signal, ended.signal])
    // The gRPC library takes some 20 MiB: only where there is somebody to talk to.
    const { ContainerdClient } = await import('./client.ts')
    const client = parts.use(new ContainerdClient(place.socket))
    const root = await contentRoot(client, place, { signal })
    const changes = new Nudge(clock)
    const hurried = new Nudge(clock)
    this.#hurry = () => {
      changes.nudge()
      hurried.nudge()
    }
    const touched = new Set<string>()
    const folders = parts.use(
      new Folders(root, (event, name) => {
        // A rename is a blob that comes or goes.
        if (event === 'change' && name !== null) touched.add(name)
        changes.nudge()
      })
    )
    void (async () => {
      for await (const _event of client.events(TOPICS, { signal })) changes.nudge()
      throw new LayerswarmError('CONTAINERD_FAILED', { detail: 'its events ended' })
    })().catch((error: unknown) => ended.abort(error))
    for (let first = true; ; first = false) {
      folders.watch()
      const started = clock.now()
      const names = [...touched]
      touched.clear()
      const asked = this.#waiting.length
      const state = await takeInventory(client, root, { signal })
      if (first) {
        this.#failure = undefined
        log.info({ socket: place.socket, root, blobs: state.files.size, images: state.images.length }, "containerd's content is shared")
      }
      const took = clock.now() - started
      yield { ...state, touched: new Set(names.flatMap((hex) => digestsNamed(hex))) }
      for (const { resolve } of this.#waiting.splice(0, asked)) resolve()
      await changes.next(ANYHOW_MS, signal)
      await hurried.next(Math.max(SETTLE_MS, took * SETTLE_FACTOR), signal)
    }
  }

  /** Told once for each reason: containerd may be stopped for long. */
  #failed({ socket }: ContainerdPlace, error: unknown): void {
    const reason = describeError(error)
    this.#deps.log[reason === this.problem ? 'debug' : 'info']({ socket, reason }, "containerd's content cannot be followed")
    this.#failure = error
  }

  #notFollowed(): unknown {
    return this.#failure ?? new LayerswarmError('CONTAINERD_FAILED', { detail: 'there is none on this host' })
  }
}

/** The digests whose blobs have this name. */
function digestsNamed(hex: string): Digest[] {
  return ['sha256', 'sha512'].map((algorithm) => `${algorithm}:${hex}`).filter((digest) => isDigest(digest))
}

/** Tells that names appeared or went in the folders of blobs, as far as there are such yet. */
class Folders implements Disposable {
  readonly #paths: readonly string[]
  readonly #changed: WatchListener<string>
  readonly #watchers = new Map<string, FSWatcher>()

  constructor(root: string, changed: WatchListener<string>) {
    this.#paths = [root, join(root, 'blobs'), join(root, 'blobs', 'sha256'), join(root, 'blobs', 'sha512')]
    this.#changed = changed
  }

  watch(): void {
    for (const path of this.#paths) {
      if (this.#watchers.has(path)) continue
      try {
        const watcher = watch(path, this.#changed)
        this.#watchers.set(path, watcher)
        watcher.on('error', () => {
          watcher.close()
          this.#watchers.delete(path)
        })
      } catch {
        // Not there yet, or no more watches to be had: events and the look anyhow remain.
      }
    }
  }

  [Symbol.dispose](): void {
    for (const watcher of this.#watchers.values()) watcher.close()
  }
}
