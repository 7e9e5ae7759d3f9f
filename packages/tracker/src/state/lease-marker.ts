import { rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeError } from '@layerswarm/core/errors.ts'
import type { Logger } from '@layerswarm/core/log.ts'

const FILE_NAME = 'leases-out'
/** No lease for so long: the fleet is idle, and a restart needs no quiet time, ms. */
const IDLE_MS = 5_000

/**
 * Remembers across restarts, kills included, whether hosts hold leases of this tracker. Nothing else is kept: the hosts
 * say what they hold, they only need the time to say it before the same is leased to others.
 */
export class LeaseMarker {
  readonly #path: string
  readonly #log: Logger
  #written: boolean
  #idleSince: number | undefined
  #work: Promise<void> = Promise.resolve()

  private constructor(path: string, written: boolean, log: Logger) {
    this.#path = path
    this.#written = written
    this.#log = log
  }

  static async load(dataDir: string, log: Logger): Promise<LeaseMarker> {
    const path = join(dataDir, FILE_NAME)
    const there = await stat(path).then(
      () => true,
      () => false
    )
    return new LeaseMarker(path, there, log)
  }

  /** Whether leases were out when it was last written. */
  get present(): boolean {
    return this.#written
  }

  /** To be called often: cheap while nothing changes. */
  update(outstanding: boolean, now: number): void {
    if (outstanding) {
      this.#idleSince = undefined
      if (!this.#written) this.#set(true)
      return
    }
    this.#idleSince ??= now
    if (this.#written && now - this.#idleSince >= IDLE_MS) this.#set(false)
  }

  /** Resolves when the file says what it should. */
  async settled(): Promise<void> {
    await this.#work
  }

  #set(there: boolean): void {
    this.#written = there
    this.#work = this.#work
      .then(() => (there ? writeFile(this.#path, '') : rm(this.#path, { force: true })))
      .catch((error: unknown) => this.#log.debug({ error: describeError(error) }, 'cannot mark that leases are out'))
  }
}
