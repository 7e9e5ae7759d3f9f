/** The tracker's view of an agent: a host of its own on a connection of its own, that says what an agent says and fetches nothing. */
import { createHash } from 'node:crypto'
import { mapRoot } from '@layerswarm/core/claims.ts'
import { type Digest, PIECE_HASH_BYTES } from '@layerswarm/core/digest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode } from '@layerswarm/core/p2p/node.ts'
import { layoutOf, piecesOfRun } from '@layerswarm/core/piece-layout.ts'
import {
  type AgentMessage,
  DIRECTORY_PROTOCOL,
  MAX_DIRECTORY_MESSAGE,
  type TrackerMessage,
  trackerMessage
} from '@layerswarm/core/wire/directory-protocol.ts'
import { decodeMessage } from '@layerswarm/core/wire/frames.ts'

export const LAYERS = 10
const LAYER_BYTES = 32 * 1024 * 1024
const LAYOUT = layoutOf(LAYER_BYTES)
const SCOPE = 'docker.io/library/app'
const log = createLogger({ level: 'silent' })

/** The layers of the `number`-th image. */
export function imageOf(number: number): { digest: Digest; size: number }[] {
  return Array.from({ length: LAYERS }, (_, layer) => {
    const digest = `sha256:${createHash('sha256').update(`${number} ${layer}`).digest('hex')}` as Digest
    return { digest, size: LAYER_BYTES }
  })
}

/** A map that all agents agree on. */
function mapOf(digest: Digest): Uint8Array {
  return Buffer.alloc(LAYOUT.pieces * PIECE_HASH_BYTES, digest.slice(-PIECE_HASH_BYTES))
}

export class BenchAgent {
  readonly #stream: FramedStream
  readonly #plans: (() => void)[] = []
  #holds: readonly { digest: Digest; size: number }[] = []
  #plan = 0
  /** Messages sent, and received. */
  sent = 0
  received = 0
  /** Its stream has ended. */
  lost = false

  private constructor(stream: FramedStream) {
    this.#stream = stream
    stream.start({
      onMessage: (body) => this.#take(decodeMessage(trackerMessage, body)),
      onClose: () => {
        this.lost = true
      }
    })
  }

  static async connect(tracker: { readonly id: string; readonly address: string }): Promise<BenchAgent> {
    const node = await createNode({ identity: await newIdentity(), version: 'bench' }, { log })
    await node.connect([tracker.address], { peer: tracker.id })
    const agent = new BenchAgent(await node.open(tracker.id, DIRECTORY_PROTOCOL, { maxMessage: MAX_DIRECTORY_MESSAGE }))
    agent.#say({ t: 'hello', name: node.id.slice(-8), version: 'bench', port: 5052, addrs: ['/ip4/192.0.2.1/tcp/5052'] })
    return agent
  }

  #say(message: AgentMessage): void {
    this.sent++
    this.#stream.send(message)
  }

  /** Says that it holds these blobs and none else. */
  holdOnly(blobs: readonly { digest: Digest; size: number }[]): void {
    this.#say({ t: 'hold', full: true, add: [], drop: [] })
    this.#say({ t: 'hold', full: false, add: [...blobs], drop: [] })
    this.#holds = blobs
  }

  /** Says again what it holds, `times` over. */
  async announce(times: number): Promise<void> {
    for (let i = 0; i < times; i++) this.#say({ t: 'hold', full: false, add: [...this.#holds], drop: [] })
    await this.#ask([], false)
  }

  async plan(blobs: readonly { digest: Digest; size: number }[]): Promise<void> {
    await this.#ask(blobs, true)
  }

  /** Says `times` over that eight pieces of a lease have come and are with others. */
  async report(blob: Digest, times: number): Promise<void> {
    const got = [0, 1, 2, 3, 4, 5, 6, 7]
    for (let i = 0; i < times; i++) this.#say({ t: 'report', blob, got, spread: got, bytes: 8 * LAYOUT.pieceSize })
    await this.#ask([], false)
  }

  /** A whole pull: the plan, what its leases bring and how they spread, and in the end the new layers in the place of those held. */
  async pull(blobs: readonly { digest: Digest; size: number }[], seconds: number): Promise<void> {
    await this.#ask(blobs, true)
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    for (const { digest } of blobs) this.#say({ t: 'done', blob: digest, size: LAYER_BYTES, root: mapRoot(digest, mapOf(digest)) })
    this.#say({ t: 'hold', full: false, add: [...blobs], drop: this.#holds.map(({ digest }) => digest) })
    this.#holds = blobs
  }

  async #ask(blobs: readonly { digest: Digest; size: number }[], want: boolean): Promise<void> {
    const answered = Promise.withResolvers<void>()
    this.#plans.push(answered.resolve)
    const asked = blobs.length > 0 ? [...blobs] : this.#holds.slice(0, 1)
    this.#say({ t: 'plan', id: this.#plan++, scope: SCOPE, blobs: asked, origin: true, want })
    await answered.promise
  }

  #take(message: TrackerMessage): void {
    this.received++
    switch (message.t) {
      case 'plan':
        for (const { digest, leases } of message.blobs) this.#fetch(digest, leases)
        this.#plans.shift()?.()
        break
      case 'leases':
        this.#fetch(message.blob, message.grant)
        break
      case 'wantMap':
        this.#say({ t: 'map', blob: message.blob, size: LAYER_BYTES, hashes: mapOf(message.blob) })
    }
  }

  /** A leased run takes as long as one report is behind another. */
  #fetch(blob: Digest, leases: readonly { readonly run: number }[]): void {
    const got = leases.flatMap(({ run }) => {
      const { first, count } = piecesOfRun(LAYOUT, run)
      return Array.from({ length: count }, (_, i) => first + i)
    })
    if (got.length === 0) return
    setTimeout(() => {
      this.#say({ t: 'report', blob, got, spread: [], bytes: got.length * LAYOUT.pieceSize })
      setTimeout(() => this.#say({ t: 'report', blob, got: [], spread: got, bytes: 0 }), 100)
    }, 100)
  }
}
