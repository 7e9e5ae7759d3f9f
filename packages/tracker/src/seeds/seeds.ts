import { randomBytes } from 'node:crypto'
import { parseHostChoice, type SeedDetail, type SeedRequest, type SeedSummary } from '@layerswarm/core/api/seed-api.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { parsePlatform } from '@layerswarm/core/image/platform.ts'
import { formatReference, parseReference } from '@layerswarm/core/image/reference.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { SeedReport, TrackerMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import type { Host } from '../state/model.ts'
import { HostsFile } from './hosts-file.ts'
import { begin, expectHosts, restore, step } from './machine.ts'
import { createSeeds, type Seed, type SeedCommand, type SeedEvent, type SeedSpec, type SeedsState } from './model.ts'
import { SeedFiles } from './seed-files.ts'
import { type Times, viewDetail, viewSeed } from './view.ts'

/** Absence is measured in many seconds. */
const TICK_MS = 1_000
/** A running seed is written at most this often, ms: what a crash loses, the hosts say again. */
const KEEP_MS = 2_000
/** Hosts are written at most this often, ms: some hundred bytes for each, of all of them. */
const KEEP_HOSTS_MS = 5_000
/** Revisions of one millisecond of a tracker's life at most: they then grow from one life to the next. */
const REVISIONS_PER_MS = 1000

export interface SeedsDeps {
  /** Says something to a connected host. */
  readonly send: (host: string, message: Extract<TrackerMessage, { t: 'seed' | 'unseed' }>) => void
  readonly clock: Clock
  readonly log: Logger
}

/** The seeds of a tracker: what people ask for, what hosts say of it, and what is kept of it across restarts. */
export class Seeds implements AsyncDisposable {
  readonly #deps: SeedsDeps
  readonly #files: SeedFiles
  readonly #state: SeedsState
  readonly #epoch: number
  /** Changed since they were written, and since when, ms. */
  readonly #unkept = new Map<Seed, number>()
  readonly #hostsFile: HostsFile
  /** Since when the hosts are others than those that were written, ms. */
  #hostsUnkept: number | undefined
  #tickedAt: number

  private constructor(deps: SeedsDeps, files: SeedFiles, hostsFile: HostsFile, epoch: number) {
    this.#deps = deps
    this.#files = files
    this.#hostsFile = hostsFile
    this.#epoch = epoch
    this.#tickedAt = deps.clock.now()
    this.#state = createSeeds(Date.now() * REVISIONS_PER_MS)
  }

  /** Goes on with the seeds of an earlier life, and expects its hosts. */
  static async open(dataDir: string, deps: SeedsDeps): Promise<Seeds> {
    const epoch = Date.now() - deps.clock.now()
    const files = new SeedFiles({ dataDir, epoch }, deps.log)
    const hostsFile = new HostsFile({ dataDir, epoch }, deps.log)
    const seeds = new Seeds(deps, files, hostsFile, epoch)
    restore(seeds.#state, await files.load(), deps.clock.now())
    expectHosts(seeds.#state, await hostsFile.load(), deps.clock.now())
    return seeds
  }

  /**
   * Begins a seed, or joins the same one that runs. It is on disk when this resolves.
   * @throws {LayerswarmError} REFERENCE_INVALID, DIGEST_INVALID, PLATFORM_UNKNOWN, HOSTS_INVALID, HOSTS_UNKNOWN, SEEDS_FULL
   */
  async begin(request: SeedRequest): Promise<{ readonly joined: boolean; readonly seed: SeedSummary }> {
    const { log, clock } = this.#deps
    const spec = specOf(request)
    const id = randomBytes(5).toString('hex')
    const { seed, joined, commands } = begin(this.#state, { id, spec }, clock.now())
    this.#apply(commands)
    if (!joined) log.info({ seed: id, image: spec.image, hosts: seed.targets.length }, 'seed begins')
    this.#keepNow(seed)
    await this.#files.settled()
    return { joined, seed: viewSeed(seed, this.#times()) }
  }

  /** @throws {LayerswarmError} SEED_UNKNOWN */
  async cancel(id: string): Promise<SeedDetail> {
    const seed = this.#seed(id)
    this.#step({ type: 'cancel', id })
    await this.#files.settled()
    return viewDetail(this.#state, seed, this.#times())
  }

  /** Latest first. */
  list(): SeedSummary[] {
    return [...this.#state.seeds.values()].reverse().map((seed) => viewSeed(seed, this.#times()))
  }

  /** @param since a revision: only hosts that changed later are told. @throws {LayerswarmError} SEED_UNKNOWN */
  view(id: string, since?: number): SeedDetail {
    return viewDetail(this.#state, this.#seed(id), this.#times(), since)
  }

  /** A host has said who it is. */
  joined({ id, name, zone }: Pick<Host, 'id' | 'name' | 'zone'>, takesSeeds: boolean): void {
    this.#step({ type: 'joined', host: { id, name, zone, takesSeeds } })
    this.#hostsUnkept ??= this.#deps.clock.now()
  }

  /** Its connection ended. */
  left(host: string): void {
    this.#step({ type: 'left', host })
    this.#hostsUnkept ??= this.#deps.clock.now()
  }

  report(host: string, report: SeedReport): void {
    this.#step({ type: 'report', host, report })
  }

  /** To be called often: cheap between the seconds. */
  tick(): void {
    const now = this.#deps.clock.now()
    if (now - this.#tickedAt < TICK_MS) return
    this.#tickedAt = now
    this.#step({ type: 'tick' })
    for (const [seed, since] of this.#unkept) if (now - since >= KEEP_MS) this.#keepNow(seed)
    if (this.#hostsUnkept !== undefined && now - this.#hostsUnkept >= KEEP_HOSTS_MS) this.#keepHosts()
  }

  /** Writes what is not written yet. Seeds that run go on with the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const seed of this.#unkept.keys()) this.#keepNow(seed)
    if (this.#hostsUnkept !== undefined) this.#keepHosts()
    await this.#files.settled()
    await this.#hostsFile.settled()
  }

  #keepHosts(): void {
    this.#hostsUnkept = undefined
    this.#hostsFile.keep(this.#state.hosts)
  }

  #seed(id: string): Seed {
    const seed = this.#state.seeds.get(id)
    if (seed === undefined) throw new LayerswarmError('SEED_UNKNOWN', { detail: id.slice(0, 64) })
    return seed
  }

  #times(): Times {
    return { now: this.#deps.clock.now(), epoch: this.#epoch }
  }

  #step(event: SeedEvent): void {
    this.#apply(step(this.#state, event, this.#deps.clock.now()))
  }

  #apply(commands: readonly SeedCommand[]): void {
    const { send, clock, log } = this.#deps
    for (const command of commands) {
      switch (command.type) {
        case 'send':
          send(command.host, command.message)
          break
        case 'keep':
          if (!this.#unkept.has(command.seed)) this.#unkept.set(command.seed, clock.now())
          break
        case 'ended': {
          const { id, image, state, seconds, states } = viewSeed(command.seed, this.#times())
          log.info({ seed: id, image, state, seconds, states }, 'seed ended')
          this.#keepNow(command.seed)
          break
        }
        case 'forget':
          this.#files.forget(command.id)
      }
    }
  }

  #keepNow(seed: Seed): void {
    this.#unkept.delete(seed)
    this.#files.keep(seed)
  }
}

/** The same wish in the same words, so that it can be told apart from others. */
function specOf({ image, hosts = ['all'], platforms, containerd }: SeedRequest): SeedSpec {
  parseHostChoice(hosts)
  const checked = platforms === undefined || platforms === 'all' ? platforms : [...new Set(platforms)].sort()
  if (checked !== undefined && checked !== 'all') checked.forEach(parsePlatform)
  return { image: formatReference(parseReference(image)), hosts: [...new Set(hosts)].sort(), platforms: checked, containerd }
}
