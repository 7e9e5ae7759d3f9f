import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KnownPeers } from '@layerswarm/agent/directory/known-peers.ts'
import { TrackerDirectory, type TrackerDirectoryOptions } from '@layerswarm/agent/directory/tracker-directory.ts'
import { TrackerPins } from '@layerswarm/agent/directory/tracker-pins.ts'
import type { DirectoryNote } from '@layerswarm/agent/ports.ts'
import { systemClock } from '@layerswarm/core/clock.ts'
import { createLogger, type Logger } from '@layerswarm/core/log.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode, type P2pNode } from '@layerswarm/core/p2p/node.ts'
import type { Holding } from '@layerswarm/core/wire/directory-protocol.ts'
import { type RunningTracker, startTracker } from '@layerswarm/tracker/tracker.ts'

const LOOPBACK = { host: '127.0.0.1', port: 0 }

export interface FleetMember {
  readonly node: P2pNode
  readonly directory: TrackerDirectory
  /** Where its known peers and pins lie. */
  readonly dataDir: string
}

export interface MemberOptions {
  readonly name?: string
  readonly zone?: string
  readonly trackers?: readonly string[]
  readonly holdings?: () => readonly Holding[]
  readonly partials?: () => readonly DirectoryNote[]
  readonly dataDir?: string
  readonly log?: Logger
}

/** A real tracker and the directory clients of several hosts, all on loopback in this process. */
export class TestFleet implements AsyncDisposable {
  readonly #parts = new AsyncDisposableStack()
  readonly #dir: string
  readonly #log = createLogger({ level: 'silent' })
  readonly #trackerLog: Logger
  #members = 0
  tracker: RunningTracker

  private constructor(dir: string, tracker: RunningTracker, trackerLog: Logger) {
    this.#dir = dir
    this.#trackerLog = trackerLog
    this.tracker = tracker
    this.#parts.defer(() => rm(dir, { recursive: true, force: true }))
    this.#parts.defer(() => this.tracker[Symbol.asyncDispose]())
  }

  /** @param options.log what the tracker logs to; nowhere by default */
  static async start({ log = createLogger({ level: 'silent' }) }: { readonly log?: Logger } = {}): Promise<TestFleet> {
    const dir = await mkdtemp(join(tmpdir(), 'layerswarm-fleet-'))
    return new TestFleet(dir, await trackerAt(join(dir, 'tracker'), 0, log), log)
  }

  /** The tracker's first address. */
  get address(): string {
    return this.tracker.p2p[0] ?? ''
  }

  async stopTracker(): Promise<void> {
    await this.tracker[Symbol.asyncDispose]()
  }

  /** Starts it again: same port, and the same identity unless `renewed`. */
  async restartTracker(options: { readonly renewed?: boolean } = {}): Promise<void> {
    const port = Number(/\/tcp\/(\d+)/.exec(this.address)?.[1])
    this.tracker = await trackerAt(join(this.#dir, options.renewed === true ? 'renewed' : 'tracker'), port, this.#trackerLog)
  }

  /** A further host. @returns once it is connected, unless it was given other trackers */
  async join(options: MemberOptions = {}): Promise<FleetMember> {
    const { name = `host-${this.#members++}`, zone, holdings = () => [], partials = () => [], log = this.#log } = options
    const dataDir = options.dataDir ?? (await mkdtemp(join(this.#dir, 'host-')))
    const node = this.#parts.use(await createNode({ identity: await newIdentity(), version: 'test', listen: LOOPBACK }, { log }))
    const knownPeers = this.#parts.use(await KnownPeers.open(dataDir, { clock: systemClock, log }))
    const pins = await TrackerPins.open(dataDir, log)
    const self: TrackerDirectoryOptions['self'] = { name, version: 'test', zone, port: node.port ?? 0, addrs: [] }
    const snapshot = async function* () {
      yield* holdings()
    }
    const deps = { node, clock: systemClock, log, random: Math.random, knownPeers, pins, snapshot, partials }
    const directory = this.#parts.use(new TrackerDirectory(deps, { trackers: options.trackers ?? [this.address], self }))
    const up = eventOf(directory, 'up')
    directory.start()
    if (options.trackers === undefined) await up
    return { node, directory, dataDir }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync()
  }
}

type Events = TrackerDirectory['events']
type EventType = 'up' | 'down' | 'leases' | 'peers' | 'map' | 'wantMap'
type EventOf<T extends EventType> = Extract<ReturnType<Events> extends AsyncIterable<infer E> ? E : never, { type: T }>

/** The first event of a type from this call on that `fits`. */
export async function eventOf<T extends EventType>(
  directory: Pick<TrackerDirectory, 'events'>,
  type: T,
  fits: (event: EventOf<T>) => boolean = () => true
): Promise<EventOf<T>> {
  for await (const event of directory.events()) {
    if (event.type === type && fits(event as EventOf<T>)) return event as EventOf<T>
  }
  throw new Error('the events ended')
}

async function trackerAt(dataDir: string, port: number, log: Logger): Promise<RunningTracker> {
  return await startTracker({ p2pListen: { host: '127.0.0.1', port }, httpListen: LOOPBACK, dataDir, clusterKey: undefined }, { log })
}
