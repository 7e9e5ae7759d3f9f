import type { Clock } from '@layerswarm/core/clock.ts'
import { within } from '@layerswarm/core/deadline.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError, isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { P2pNode } from '@layerswarm/core/p2p/node.ts'
import { DIRECTORY_PROTOCOL, type Holding, MAX_DIRECTORY_MESSAGE, type TrackerMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import { MAX_LISTED_BLOBS } from '@layerswarm/core/wire/fields.ts'
import type { Logger } from 'pino'
import type { Abortable, DirectoryEvent, DirectoryNote, PeerDirectory, Plan, PlanRequest } from '../ports.ts'
import { EventFeed } from './event-feed.ts'
import type { KnownPeers } from './known-peers.ts'
import { noteToMessages } from './messages.ts'
import type { TrackerPins } from './tracker-pins.ts'
import { TrackerSession } from './tracker-session.ts'
import { WantedBlobs } from './wanted-blobs.ts'

/** A plan takes the tracker well under a millisecond; a client waits for its first byte meanwhile. */
const PLAN_MS = 1_500
/** A tracker that answers a stream answers hello, ms. */
const WELCOME_MS = 5_000
/** First wait before all trackers are tried again, and the longest, ms. Each is jittered by half: a fleet does not come back at one instant. */
const RETRY_FIRST_MS = 200
const RETRY_MOST_MS = 5_000
/** What may be unsent when the agent stops, ms. */
const FAREWELL_MS = 1_000

export interface TrackerDirectoryDeps {
  readonly node: Pick<P2pNode, 'connect' | 'open'>
  readonly clock: Clock
  readonly log: Logger
  readonly random: () => number
  readonly knownPeers: KnownPeers
  readonly pins: TrackerPins
  /** Every complete blob held now. */
  readonly snapshot: () => AsyncIterable<Holding>
  /** What is being fetched now, as `partial` notes. */
  readonly partials: () => readonly DirectoryNote[]
}

export interface TrackerDirectoryOptions {
  /** Multiaddrs, tried in this order; without `/p2p/ID` the first that answers there is remembered. */
  readonly trackers: readonly string[]
  readonly self: {
    readonly name: string
    readonly version: string
    readonly zone?: string | undefined
    /** Where peers reach this host at the address the tracker sees; 0: only at `addrs`. */
    readonly port: number
    /** Further addresses for peers, as multiaddrs without the peer id. */
    readonly addrs: readonly string[]
    /** Somebody here follows the seeds among the events. */
    readonly seeds?: boolean
  }
}

/**
 * The tracker's client: keeps a stream to the first tracker that answers, says who this host is and what it has and
 * fetches, and again after each reconnect. Everything else in the agent goes on while there is none.
 */
export class TrackerDirectory implements PeerDirectory, AsyncDisposable {
  readonly #deps: TrackerDirectoryDeps
  readonly #options: TrackerDirectoryOptions
  readonly #feed = new EventFeed()
  readonly #trusted = new Set<string>()
  readonly #wanted = new WantedBlobs()
  readonly #stop = new AbortController()
  /** Digests that changed while the list of holdings is being told: the list is older than they are. */
  #changed: Set<Digest> | undefined
  #session: TrackerSession | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(deps: TrackerDirectoryDeps, options: TrackerDirectoryOptions) {
    this.#deps = deps
    this.#options = options
    for (const address of options.trackers) {
      const id = idOf(address) ?? deps.pins.get(address)
      if (id !== undefined) this.#trusted.add(id)
    }
  }

  /** Begins to connect, and goes on until disposed. */
  start(): void {
    this.#running = this.#run()
  }

  get connected(): boolean {
    return this.#session?.open === true
  }

  get trusted(): ReadonlySet<string> {
    return this.#trusted
  }

  async plan(want: PlanRequest, options: Abortable = {}): Promise<Plan> {
    const session = this.#session
    if (session === undefined || !session.open) throw new LayerswarmError('TRACKER_UNREACHABLE')
    if (want.want) this.#wanted.note(want)
    const { scope, origin, rate } = want
    const blobs = want.blobs.slice(0, MAX_LISTED_BLOBS).map(({ digest, size }) => (size === undefined ? { digest } : { digest, size }))
    const request = { scope, blobs, origin, want: want.want, ...(rate === undefined ? {} : { rate }) }
    const late = () => new LayerswarmError('TRACKER_UNREACHABLE', { detail: `no plan within ${PLAN_MS} ms` })
    const deadline = { clock: this.#deps.clock, ms: PLAN_MS, late, signal: options.signal }
    const plan = await within(deadline, (signal) => session.plan(request, signal))
    this.#deps.knownPeers.add(plan.peers)
    return plan
  }

  announce(changes: { readonly add: readonly Holding[]; readonly drop: readonly Digest[] }): void {
    for (const { digest } of changes.add) {
      this.#wanted.forget(digest)
      this.#changed?.add(digest)
    }
    for (const digest of changes.drop) this.#changed?.add(digest)
    for (let at = 0; at < Math.max(changes.add.length, changes.drop.length); at += MAX_LISTED_BLOBS) {
      const part = { add: changes.add.slice(at, at + MAX_LISTED_BLOBS), drop: changes.drop.slice(at, at + MAX_LISTED_BLOBS) }
      this.#session?.outbox.push({ t: 'hold', full: false, ...part })
    }
  }

  tell(note: DirectoryNote): void {
    if (note.t === 'done' || note.t === 'cancel') this.#wanted.forget(note.blob)
    if (!this.connected) return
    for (const message of noteToMessages(note)) this.#session?.outbox.push(message)
  }

  events(options: Abortable = {}): AsyncIterable<DirectoryEvent> {
    return this.#feed.subscribe(options)
  }

  /** Says what is left to say, for a second at most, and closes the stream. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the agent is stopping'))
    await this.#session?.outbox.flushed(AbortSignal.timeout(FAREWELL_MS))
    await this.#session?.close()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    let failures = 0
    while (!signal.aborted) {
      const held = await this.#tryAll(failures > 0)
      failures = held ? 0 : failures + 1
      const wait = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** Math.max(0, failures - 1))
      await this.#deps.clock.sleep(wait * (0.5 + this.#deps.random() / 2), { signal }).catch(() => undefined)
    }
  }

  /** Uses the first tracker that answers until its stream ends. @returns whether there was one */
  async #tryAll(quiet: boolean): Promise<boolean> {
    const { log } = this.#deps
    for (const address of this.#options.trackers) {
      if (this.#stop.signal.aborted) return false
      try {
        await this.#use(address)
        return true
      } catch (error) {
        if (this.#stop.signal.aborted) return false
        // A tracker of another version stays so until somebody acts.
        const level = quiet ? 'debug' : 'warn'
        const remedy = isLayerswarmError(error) ? error.remedy : undefined
        log[level]({ tracker: address, error: describeError(error), remedy }, 'the tracker cannot be used; pulls go on without it')
      }
    }
    return false
  }

  /** @throws {LayerswarmError} when no stream could be opened there */
  async #use(address: string): Promise<void> {
    const { node, pins, clock, log } = this.#deps
    const { signal } = this.#stop
    const expected = idOf(address)
    const peer = await node.connect([withoutId(address)], { signal, ...(expected === undefined ? {} : { peer: expected }) })
    const stream = await node.open(peer, DIRECTORY_PROTOCOL, { maxMessage: MAX_DIRECTORY_MESSAGE, signal })
    const session = new TrackerSession(stream, (message) => this.#take(message))
    try {
      const { addrs, zone, ...self } = this.#options.self
      session.outbox.push({ t: 'hello', ...self, addrs: addrs.slice(0, 16), ...(zone === undefined ? {} : { zone }) })
      const late = () => new LayerswarmError('TRACKER_UNREACHABLE', { detail: 'it does not answer' })
      await within({ clock, ms: WELCOME_MS, late, signal }, () => session.welcomed)
      if (!session.open) throw (await session.closed) ?? new LayerswarmError('TRACKER_UNREACHABLE', { detail: 'it closed the stream' })
      if (expected === undefined) await pins.note(address, peer)
      this.#trusted.add(peer)
      await this.#attend(session, address)
    } catch (error) {
      session.abort(error instanceof LayerswarmError ? error : new LayerswarmError('TRACKER_UNREACHABLE', { cause: error }))
      throw error
    }
    if (!signal.aborted) log.warn({ tracker: address }, 'lost the tracker; pulls go on without it')
  }

  /** Says everything, fetches in progress first: until the tracker knows those it may lease the same to others. */
  async #attend(session: TrackerSession, address: string): Promise<void> {
    const { log, partials } = this.#deps
    this.#changed = new Set()
    this.#session = session
    try {
      const fetching = partials()
      for (const note of fetching) for (const message of noteToMessages(note)) session.outbox.push(message)
      log.info({ tracker: address, peer: session.peer }, 'connected to the tracker')
      this.#feed.publish({ type: 'up' })
      for (const request of this.#wanted.requests(fetching.flatMap((note) => ('blob' in note ? [note.blob] : []))))
        void this.#planAgain(session, request)
      await Promise.race([this.#tellHoldings(session), session.closed])
      this.#changed = undefined
      await session.closed
    } finally {
      this.#changed = undefined
      this.#session = undefined
      this.#feed.publish({ type: 'down' })
    }
  }

  async #tellHoldings(session: TrackerSession): Promise<void> {
    session.outbox.push({ t: 'hold', full: true, add: [], drop: [] })
    let part: Holding[] = []
    const flush = async () => {
      session.outbox.push({ t: 'hold', full: false, add: part.filter(({ digest }) => this.#changed?.has(digest) !== true), drop: [] })
      part = []
      await session.outbox.flushed(this.#stop.signal)
    }
    try {
      for await (const holding of this.#deps.snapshot()) {
        if (!session.open) return
        part.push(holding)
        if (part.length === MAX_LISTED_BLOBS) await flush()
      }
      if (part.length > 0) await flush()
    } catch (error) {
      this.#deps.log.error({ error: describeError(error) }, 'cannot tell the tracker what this host holds')
    }
  }

  /** A tracker that was restarted has to hear again who may fetch what. The answer comes as events. */
  async #planAgain(session: TrackerSession, request: PlanRequest): Promise<void> {
    try {
      const { scope, blobs, origin, rate } = request
      const again = { scope, blobs: [...blobs], origin, want: true, ...(rate === undefined ? {} : { rate }) }
      this.#spread(await session.plan(again, this.#stop.signal))
    } catch (error) {
      this.#deps.log.debug({ error: describeError(error) }, 'a plan could not be renewed')
    }
  }

  #spread(plan: Plan): void {
    this.#deps.knownPeers.add(plan.peers)
    for (const { digest, size, map, leases, gateway } of plan.blobs) {
      if (leases.length > 0) this.#feed.publish({ type: 'leases', blob: digest, grant: leases, revoke: [] })
      if (map !== undefined && size !== undefined) this.#feed.publish({ type: 'map', blob: digest, size, map })
      const named = gateway === undefined ? {} : { gateway }
      this.#feed.publish({ type: 'peers', blob: digest, peers: plan.peers, ...named })
    }
  }

  #take(message: TrackerMessage): void {
    switch (message.t) {
      case 'welcome':
        this.#deps.log.debug({ observed: message.observed, version: message.version }, 'the tracker says welcome')
        break
      case 'plan':
        this.#spread(message)
        break
      case 'leases':
        this.#feed.publish({ type: 'leases', blob: message.blob, grant: message.grant, revoke: message.revoke })
        break
      case 'peers': {
        this.#deps.knownPeers.add(message.peers)
        const { blob, peers, gateway } = message
        this.#feed.publish({ type: 'peers', blob, peers, ...(gateway === undefined ? {} : { gateway }) })
        break
      }
      case 'map':
        this.#feed.publish({ type: 'map', blob: message.blob, size: message.size, map: message.map })
        break
      case 'wantMap':
        this.#feed.publish({ type: 'wantMap', blob: message.blob })
        break
      case 'seed':
        this.#feed.publish({ type: 'seed', order: message })
        break
      case 'unseed':
        this.#feed.publish({ type: 'unseed', id: message.id })
    }
  }
}

function idOf(address: string): string | undefined {
  return /\/p2p\/([^/]+)$/.exec(address)?.[1]
}

function withoutId(address: string): string {
  return address.replace(/\/p2p\/[^/]+$/, '')
}
