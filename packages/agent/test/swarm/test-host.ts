import { createHash } from 'node:crypto'
import type { Lease } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { layoutOf, type PieceLayout, piecesOfRun } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import type { SwarmCommand, SwarmEvent } from '../../src/swarm/messages.ts'
import { step } from '../../src/swarm/scheduler.ts'
import { type BlobState, createState, type SwarmState } from '../../src/swarm/state.ts'

export const PIECE_BYTES = layoutOf(1).pieceSize

export function digestNamed(name: string): Digest {
  return `sha256:${createHash('sha256').update(name).digest('hex')}` as Digest
}

export const BLOB = digestNamed('layer')

export type Command<T extends SwarmCommand['type']> = Extract<SwarmCommand, { type: T }>
type Note = Command<'tell'>['note']
export type NoteOf<T extends Note['t']> = Extract<Note, { t: T }>

/** The commands of one kind. */
export function of<T extends SwarmCommand['type']>(commands: readonly SwarmCommand[], type: T): Command<T>[] {
  return commands.filter((command): command is Command<T> => command.type === type)
}

/** What the tracker is told, of one kind. */
export function notes<T extends Note['t']>(commands: readonly SwarmCommand[], t: T): NoteOf<T>[] {
  return of(commands, 'tell')
    .map(({ note }) => note)
    .filter((note): note is NoteOf<T> => note.t === t)
}

export function lease(run: number, options: { blob?: Digest; instead?: string } = {}): Lease {
  const { blob = BLOB, instead } = options
  return { blob, run, holder: 'me', serial: run, by: 'tracker', sig: new Uint8Array(64), ...(instead !== undefined && { instead }) }
}

export function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i)
}

/** The scheduler of one host, at a time of the test's choosing. */
export class TestHost {
  readonly state: SwarmState
  now = 1000

  constructor(options: { tracker?: boolean; seed?: number; downloadLimit?: number } = {}) {
    const random = new SeededRandom(options.seed ?? 1)
    this.state = createState('me', () => random.next(), options.tracker ?? true, options.downloadLimit)
  }

  step(event: SwarmEvent): readonly SwarmCommand[] {
    return step(this.state, event, this.now)
  }

  /** Time passes, then the scheduler looks at the clock. */
  tick(ms = 0): readonly SwarmCommand[] {
    this.now += ms
    return this.step({ type: 'tick' })
  }

  /** The same in steps of the driver's 50 ms. @returns all that came of it */
  pass(ms: number): SwarmCommand[] {
    const commands: SwarmCommand[] = []
    for (const end = this.now + ms; this.now < end; ) commands.push(...this.tick(Math.min(50, end - this.now)))
    return commands
  }

  /** Starts a blob of smallest pieces. @param options.map whether all pieces can be verified (default yes) */
  open(
    pieces: number,
    options: { blob?: Digest; have?: Iterable<number>; map?: boolean; planned?: boolean; pull?: string } = {}
  ): readonly SwarmCommand[] {
    const { blob = BLOB, have = [], map = true, planned = true, pull = blob } = options
    const layout: PieceLayout = layoutOf(pieces * PIECE_BYTES)
    const commands = [...this.step({ type: 'open', blob, layout, have: PieceSet.of(pieces, have), pull })]
    if (planned) commands.push(...this.step({ type: 'planned', blob }))
    if (map && pieces > 1) commands.push(...this.step({ type: 'map', blob, proven: true }))
    return commands
  }

  blob(digest: Digest = BLOB): BlobState {
    const blob = this.state.blobs.get(digest)
    if (blob === undefined) throw new Error(`${digest} is not open`)
    return blob
  }

  neighbour(peer: string) {
    const neighbour = this.state.neighbours.get(peer)
    if (neighbour === undefined) throw new Error(`${peer} is no neighbour`)
    return neighbour
  }

  up(...peers: string[]): SwarmCommand[] {
    return peers.flatMap((peer) => this.step({ type: 'up', peer }))
  }

  has(peer: string, pieces: Iterable<number>, options: { blob?: Digest; load?: number; gone?: boolean } = {}): readonly SwarmCommand[] {
    const { blob = BLOB, load = 0, gone = false } = options
    return this.step({ type: 'available', peer, blob, pieces, load, gone })
  }

  /** Bytes came of pieces that are not whole: from peers, and so many of the piece that each transfer of the registry brings. */
  arriving(peers: readonly string[], fetches: Iterable<readonly [number, number]> = [], blob: Digest = BLOB): readonly SwarmCommand[] {
    return this.step({ type: 'arriving', blob, peers, fetches: new Map(fetches) })
  }

  landed(piece: number, from: string, blob: Digest = BLOB): readonly SwarmCommand[] {
    return this.step({ type: 'landed', blob, piece, from, bytes: PIECE_BYTES })
  }

  grant(runs: readonly number[], options: { blob?: Digest; instead?: string } = {}): readonly SwarmCommand[] {
    const { blob = BLOB } = options
    return this.step({ type: 'leases', blob, grant: runs.map((run) => lease(run, options)), revoke: [] })
  }

  revoke(...runs: number[]): readonly SwarmCommand[] {
    return this.step({ type: 'leases', blob: BLOB, grant: [], revoke: runs })
  }

  /** The registry brings the pieces of a run, one each `gap` ms. @returns what came of the last one */
  fetched(run: number, gap = 10): readonly SwarmCommand[] {
    const { first, count } = piecesOfRun(this.blob().layout, run)
    let commands: readonly SwarmCommand[] = []
    for (const piece of range(first, count)) {
      this.now += gap
      commands = this.landed(piece, 'registry')
    }
    return commands
  }

  /** Peer and piece of every request that is open, over all blobs. */
  get requests(): { peer: string; piece: number }[] {
    return [...this.state.blobs.values()].flatMap(({ requests }) =>
      [...requests.values()].flat().map(({ peer, piece }) => ({ peer, piece }))
    )
  }
}
