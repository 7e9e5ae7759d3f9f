import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeError } from '@layerswarm/core/errors.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import { replaceFile } from '@layerswarm/core/replace-file.ts'
import { z } from 'zod'
import { type KnownHost, MAX_HOSTS } from './model.ts'
import { timeField } from './seed-files.ts'

const FILE = 'hosts.json'
/** Hosts that left in the last moments of a tracker left with it: they lost their connection as it ended, ms. */
const LAST_MOMENTS_MS = 10_000

const keptHosts = z.object({
  /** When it was written, ms since 1970. */
  at: timeField,
  hosts: z
    .array(
      z.object({
        id: z.string().max(255),
        name: z.string().max(255),
        zone: z.string().max(255),
        takesSeeds: z.boolean(),
        leftAt: timeField.optional()
      })
    )
    .max(MAX_HOSTS)
})

/**
 * The hosts that a tracker knows, in one file of its data directory: the next tracker expects them back. A crash leaves
 * the old file or the new one, whole.
 */
export class HostsFile {
  readonly #path: string
  readonly #epoch: number
  readonly #log: Logger
  #waiting: (() => string) | undefined
  #work: Promise<void> = Promise.resolve()

  /** @param options.epoch what to add to the times of hosts for milliseconds since 1970 */
  constructor(options: { readonly dataDir: string; readonly epoch: number }, log: Logger) {
    this.#path = join(options.dataDir, FILE)
    this.#epoch = options.epoch
    this.#log = log
  }

  /** Those that were connected to the end have no `leftAt`. What cannot be read is told, and nobody is expected. */
  async load(): Promise<KnownHost[]> {
    try {
      const text = await readFile(this.#path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined
        throw error
      })
      if (text === undefined) return []
      const { at, hosts } = keptHosts.parse(JSON.parse(text))
      return hosts.map(({ leftAt, ...host }) => ({
        ...host,
        expected: false,
        leftAt: leftAt === undefined || at - leftAt < LAST_MOMENTS_MS ? undefined : leftAt - this.#epoch
      }))
    } catch (error) {
      this.#log.warn({ file: this.#path, error: describeError(error) }, 'the hosts of an earlier time cannot be read')
      return []
    }
  }

  /** Writes them as they are when their turn comes. */
  keep(hosts: ReadonlyMap<string, KnownHost>): void {
    const waits = this.#waiting !== undefined
    this.#waiting = () => this.#textOf(hosts)
    if (waits) return
    this.#work = this.#work
      .then(() => this.#write())
      .catch((error: unknown) => this.#log.warn({ file: this.#path, error: describeError(error) }, 'the hosts cannot be kept'))
  }

  /** Resolves when the file says what it should, or cannot. */
  async settled(): Promise<void> {
    await this.#work
  }

  async #write(): Promise<void> {
    const text = this.#waiting?.() ?? ''
    this.#waiting = undefined
    await replaceFile(this.#path, text)
  }

  #textOf(hosts: ReadonlyMap<string, KnownHost>): string {
    const kept = [...hosts.values()].slice(0, MAX_HOSTS).map(({ id, name, zone, takesSeeds, leftAt }) => ({
      id,
      name,
      zone,
      takesSeeds,
      ...(leftAt === undefined ? {} : { leftAt: Math.max(0, leftAt + this.#epoch) })
    }))
    return JSON.stringify({ at: Date.now(), hosts: kept })
  }
}
