import { join } from 'node:path'
import type { Clock } from '@layerswarm/core/clock.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { type PeerAddress, peerSchema } from '@layerswarm/core/wire/directory-protocol.ts'
import type { Logger } from 'pino'
import { z } from 'zod'
import { readJson, writeJson } from './json-file.ts'

const FILE_NAME = 'known-peers.json'
/** Hosts remembered: several neighbourhoods, still a file of a few KiB. */
const MAX_PEERS = 64
/** The file is written at most this often, ms; what it misses after a crash is a few addresses. */
const WRITE_EVERY_MS = 10_000

/** Hosts that plans named lately, across restarts: whom to ask when no tracker answers. */
export class KnownPeers implements AsyncDisposable {
  readonly #path: string
  readonly #deps: { readonly clock: Clock; readonly log: Logger }
  /** Latest last. */
  readonly #peers = new Map<string, PeerAddress>()
  #writtenAt: number | undefined
  #unsaved = false
  #writing: Promise<void> = Promise.resolve()

  private constructor(path: string, deps: { readonly clock: Clock; readonly log: Logger }) {
    this.#path = path
    this.#deps = deps
  }

  static async open(dataDir: string, deps: { readonly clock: Clock; readonly log: Logger }): Promise<KnownPeers> {
    const known = new KnownPeers(join(dataDir, FILE_NAME), deps)
    for (const peer of (await readJson(known.#path, z.array(peerSchema).max(MAX_PEERS))) ?? []) known.#peers.set(peer.id, peer)
    return known
  }

  /** The latest first. */
  all(): readonly PeerAddress[] {
    return [...this.#peers.values()].reverse()
  }

  add(peers: readonly PeerAddress[]): void {
    if (peers.length === 0) return
    for (const peer of peers) {
      this.#peers.delete(peer.id)
      this.#peers.set(peer.id, peer)
    }
    for (const id of this.#peers.keys()) {
      if (this.#peers.size <= MAX_PEERS) break
      this.#peers.delete(id)
    }
    this.#unsaved = true
    const now = this.#deps.clock.now()
    if (this.#writtenAt === undefined || now - this.#writtenAt >= WRITE_EVERY_MS) {
      this.#writtenAt = now
      this.#save()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#unsaved) this.#save()
    await this.#writing
  }

  #save(): void {
    this.#unsaved = false
    const peers = [...this.#peers.values()]
    this.#writing = this.#writing
      .then(() => writeJson(this.#path, peers))
      .catch((error: unknown) => this.#deps.log.debug({ error: describeError(error) }, 'cannot keep the known peers'))
  }
}
