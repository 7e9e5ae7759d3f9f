import { COMMON_BATCH_MS, HAVE_BATCH_MS } from '@layerswarm/agent/peers/have-batches.ts'
import { MAX_UPLOADS, SHORTEST_MS, UPLOADS } from '@layerswarm/agent/peers/uploads.ts'
import { isCommon } from '@layerswarm/agent/swarm/derived.ts'
import type { SwarmCommand, SwarmEvent } from '@layerswarm/agent/swarm/messages.ts'
import { nextUpload } from '@layerswarm/agent/swarm/policy.ts'
import { step } from '@layerswarm/agent/swarm/scheduler.ts'
import { createState } from '@layerswarm/agent/swarm/state.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { type PieceLayout, pieceLength } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { AgentMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import { SimClient } from './client.ts'
import { Link } from './link.ts'
import type { World } from './world.ts'

const TICK_MS = 50

interface Upload {
  readonly peer: SimHost
  readonly blob: Digest
  readonly piece: number
  readonly received: number
  readonly since: number
  cancelled: boolean
}

interface Watched {
  readonly watchers: Set<SimHost>
  pending: number[]
  flushedAt: number
  dueAt: number
}

export interface SimHostOptions {
  readonly id: string
  readonly zone: string
  /** Bytes a second of its link. */
  readonly rate: number
  readonly reads?: number | undefined
  readonly registryShare: number
}

/** One agent in virtual time: the shipped scheduler, with links, neighbours and a tracker that are simulated. */
export class SimHost {
  readonly id: string
  readonly zone: string
  readonly up: Link
  readonly down: Link
  readonly state
  readonly #world: World
  readonly #wants: readonly { digest: Digest; layout: PieceLayout }[]
  readonly #client: SimClient
  readonly has = new Map<Digest, PieceSet>()
  readonly neighbours = new Set<SimHost>()
  readonly #watched = new Map<Digest, Watched>()
  /** How often each piece was served, up to 255. */
  readonly #served = new Map<Digest, Uint8Array>()
  #waiting: Upload[] = []
  #active = 0
  #blocked = 0
  readonly #fetches = new Map<number, () => void>()
  /** Its part of the registry's link beside those of other hosts. */
  readonly registryShare: number
  dead = false
  startedAt = 0
  finishedAt: number | undefined
  readerAt: number | undefined
  duplicateBytes = 0
  counts = { haves: 0, requests: 0, tracker: 0 }

  constructor(
    world: World,
    { id, zone, rate, reads, registryShare }: SimHostOptions,
    wants: readonly { digest: Digest; layout: PieceLayout }[]
  ) {
    this.#world = world
    this.id = id
    this.zone = zone
    this.up = new Link(rate)
    this.down = new Link(rate)
    this.#wants = wants
    this.#client = new SimClient(wants, reads ?? 0, { has: this.has, dispatch: (event) => this.dispatch(event) })
    this.registryShare = registryShare
    this.state = createState(id, world.random, true)
  }

  get progress(): number {
    let have = 0
    for (const set of this.has.values()) have += set.count
    return have
  }

  start(): void {
    const { queue } = this.#world
    this.startedAt = queue.now
    for (const { digest, layout } of this.#wants) {
      this.has.set(digest, new PieceSet(layout.pieces))
      this.dispatch({ type: 'open', blob: digest, layout, have: new PieceSet(layout.pieces), pull: 'sim/image' })
      this.dispatch({ type: 'map', blob: digest, proven: true })
    }
    this.#world.tell(this, {
      t: 'plan',
      id: 1,
      scope: 'sim/image',
      blobs: this.#wants.map(({ digest, layout }) => ({ digest, size: layout.size })),
      origin: true,
      want: true,
      ...(this.#world.statesRates && { rate: this.down.rate * 1000 })
    })
    this.#client.readOn()
    queue.after(TICK_MS, () => this.#tick())
  }

  #tick(): void {
    if (this.dead || this.state.blobs.size === 0) return
    this.dispatch({ type: 'tick' })
    this.#world.queue.after(TICK_MS, () => this.#tick())
  }

  die(): void {
    this.dead = true
    for (const stop of this.#fetches.values()) stop()
    this.#waiting = []
  }

  dispatch(event: SwarmEvent): void {
    if (this.dead) return
    for (const command of step(this.state, event, this.#world.queue.now)) this.#execute(command)
  }

  #execute(command: SwarmCommand): void {
    const world = this.#world
    const { queue, rtt } = world
    if (command.type === 'connect') world.connect(this, command.peer.id)
    else if (command.type === 'observe') queue.after(rtt / 2, () => world.host(command.peer).watch(this, command.blob))
    else if (command.type === 'request') {
      this.counts.requests++
      const upload = {
        peer: this,
        blob: command.blob,
        piece: command.piece,
        received: command.faring.received,
        since: queue.now - command.faring.elapsed,
        cancelled: false
      }
      queue.after(rtt / 2, () => world.host(command.peer).ask(upload))
    } else if (command.type === 'cancel') {
      queue.after(rtt / 2, () => world.host(command.peer).cancel(this, command.blob, command.piece))
    } else if (command.type === 'withdraw') {
      queue.after(rtt / 2, () => world.host(command.peer).withdraw(this, command.blob, command.piece))
    } else if (command.type === 'fetch') this.#fetch(command)
    else if (command.type === 'stopFetch') this.#fetches.get(command.fetch)?.()
    else if (command.type === 'tell') world.tell(this, command.note as AgentMessage)
    else if (command.type === 'complete') this.#complete(command.blob)
    else if (command.type === 'retire') this.dispatch({ type: 'close', blob: command.blob })
    else throw new Error(`${this.id}: ${command.type} at ${queue.now}`)
  }

  #fetch({ blob, fetch, run }: SwarmCommand & { type: 'fetch' }): void {
    const layout = this.#world.layout(blob)
    const stop = this.#world.registry.fetch(
      layout,
      run,
      this.down,
      (piece) => {
        if (piece === 0 && run.first !== 0 && !this.#world.registry.ranged) this.dispatch({ type: 'noRange', blob })
        this.land(blob, piece, 'registry')
      },
      () => this.dispatch({ type: 'fetchEnded', blob, fetch }),
      this.registryShare
    )
    this.#fetches.set(fetch, stop)
  }

  receive(blob: Digest, piece: number, from: string, load: number): void {
    this.dispatch({ type: 'available', peer: from, blob, pieces: [], load, gone: false })
    this.land(blob, piece, from)
  }

  /** A piece has arrived whole. */
  land(blob: Digest, piece: number, from: string): void {
    if (this.dead) return
    const bytes = pieceLength(this.#world.layout(blob), piece)
    const fresh = this.has.get(blob)?.add(piece) === true
    if (!fresh) this.duplicateBytes += bytes
    this.dispatch({ type: 'landed', blob, piece, from, bytes })
    if (!fresh) return
    this.#announce(blob, piece)
    this.#client.readOn()
  }

  #complete(blob: Digest): void {
    const { queue } = this.#world
    this.#world.tell(this, { t: 'done', blob, size: this.#world.layout(blob).size, root: Buffer.from(blob) })
    this.#world.tell(this, { t: 'hold', full: false, add: [{ digest: blob, size: this.#world.layout(blob).size }], drop: [] })
    if (this.#wants.every(({ digest }) => this.has.get(digest)?.complete)) {
      this.finishedAt = queue.now
      this.#world.finished(this)
    }
  }

  watch(watcher: SimHost, blob: Digest): void {
    if (this.dead) return
    let watched = this.#watched.get(blob)
    if (watched === undefined) {
      watched = { watchers: new Set(), pending: [], flushedAt: Number.NEGATIVE_INFINITY, dueAt: Number.POSITIVE_INFINITY }
      this.#watched.set(blob, watched)
    }
    watched.watchers.add(watcher)
    const pieces = this.has.get(blob)?.clone() ?? []
    this.#inform(watcher, blob, pieces)
  }

  #inform(watcher: SimHost, blob: Digest, pieces: Iterable<number>): void {
    const load = this.#active + this.#waiting.length
    this.#world.queue.after(this.#world.rtt / 2, () =>
      watcher.dispatch({ type: 'available', peer: this.id, blob, pieces, load, gone: false })
    )
  }

  #announce(blob: Digest, piece: number): void {
    const watched = this.#watched.get(blob)
    if (watched === undefined) return
    watched.pending.push(piece)
    const known = this.state.blobs.get(blob)
    const batch = known !== undefined && isCommon(known, piece) ? COMMON_BATCH_MS : HAVE_BATCH_MS
    const at = Math.max(this.#world.queue.now, watched.flushedAt + batch)
    if (at >= watched.dueAt) return
    watched.dueAt = at
    this.#world.queue.at(at, () => {
      if (watched.dueAt !== at) return
      watched.dueAt = Number.POSITIVE_INFINITY
      watched.flushedAt = this.#world.queue.now
      const pieces = watched.pending
      watched.pending = []
      if (this.dead) return
      for (const watcher of watched.watchers) {
        const known = this.state.blobs.get(blob)?.holders.get(watcher.id)
        const news = known === undefined ? pieces : pieces.filter((p) => !known.has(p))
        if (news.length === 0) continue
        this.counts.haves++
        this.#inform(watcher, blob, news)
      }
    })
  }

  ask(upload: Upload): void {
    if (this.dead) return
    this.#waiting.push(upload)
    this.#serve()
  }

  /** @returns whether the request was waiting still */
  cancel(peer: SimHost, blob: Digest, piece: number): boolean {
    const at = this.#waiting.findIndex((u) => u.peer === peer && u.blob === blob && u.piece === piece)
    if (at >= 0) this.#waiting.splice(at, 1)
    return at >= 0
  }

  withdraw(peer: SimHost, blob: Digest, piece: number): void {
    if (this.dead || !this.cancel(peer, blob, piece)) return
    this.#inform(peer, blob, [])
    this.#world.queue.after(this.#world.rtt / 2, () => peer.dispatch({ type: 'withdrawn', blob, piece, peer: this.id }))
  }

  #serve(): void {
    const { queue } = this.#world
    while (this.#waiting.length > 0 && this.#active < UPLOADS + Math.min(this.#blocked, MAX_UPLOADS - UPLOADS)) {
      const requests = this.#waiting.map((u) => ({
        peer: u.peer.id,
        blob: u.blob,
        piece: u.piece,
        rate: u.received / Math.max(SHORTEST_MS, queue.now - u.since),
        served: this.#servings(u.blob)[u.piece] ?? 0
      }))
      const [upload] = this.#waiting.splice(nextUpload(requests), 1)
      if (upload === undefined) return
      const served = this.#servings(upload.blob)
      served[upload.piece] = Math.min(255, (served[upload.piece] ?? 0) + 1)
      this.#active++
      const bytes = pieceLength(this.#world.layout(upload.blob), upload.piece)
      queue.at(this.up.pass(queue.now, bytes), () => this.#sent(upload, bytes))
    }
  }

  #servings(blob: Digest): Uint8Array {
    const known = this.#served.get(blob)
    if (known !== undefined) return known
    const counts = new Uint8Array(this.#world.layout(blob).pieces)
    this.#served.set(blob, counts)
    return counts
  }

  /** The bytes have left, for another zone by the link between the two. */
  #sent(upload: Upload, bytes: number): void {
    const { queue } = this.#world
    const between = this.#world.between(this, upload.peer, bytes)
    if (between === undefined) this.#arrive(upload, bytes)
    else queue.at(between.passThrough(queue.now, bytes), () => this.#arrive(upload, bytes))
  }

  /** The bytes are through when the receiver's link has taken them, behind what others send it. */
  #arrive(upload: Upload, bytes: number): void {
    const { queue, rtt } = this.#world
    const arrived = upload.peer.down.passThrough(queue.now, bytes)
    const held = arrived > queue.now + bytes / this.up.rate
    if (held) {
      this.#blocked++
      this.#serve()
    }
    queue.at(arrived, () => {
      this.#active--
      if (held) this.#blocked--
      this.#serve()
      const load = this.#active + this.#waiting.length
      if (!this.dead) queue.after(rtt / 2, () => upload.peer.receive(upload.blob, upload.piece, this.id, load))
    })
  }
}
