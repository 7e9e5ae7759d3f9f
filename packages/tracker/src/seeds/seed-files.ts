import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { platformsField } from '@layerswarm/core/api/local-api.ts'
import { seedDetail, seedTarget } from '@layerswarm/core/api/seed-api.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import { replaceFile } from '@layerswarm/core/replace-file.ts'
import { z } from 'zod'
import { isOpen, type Seed } from './model.ts'

const FOLDER = 'seeds'
const ID = /^[0-9a-z]{1,64}$/

/** Milliseconds since 1970, as far as a date goes. */
export const timeField = z.number().min(0).max(8.64e15)

const keptSeed = z
  .object({
    spec: z.object({
      image: z.string(),
      hosts: z.array(z.string()),
      platforms: platformsField.optional(),
      containerd: z.string().optional()
    }),
    state: seedDetail.shape.state,
    startedAt: timeField,
    endedAt: timeField.optional(),
    targets: z.array(seedTarget.omit({ number: true }))
  })
  .refine(({ state, targets }) => state !== 'running' || targets.some(isOpen), 'it runs, and there is no host to wait for')

/** A seed without what follows from the rest. */
export type KeptSeed = Omit<Seed, 'open' | 'byHost'>

/** Seeds in the tracker's data directory, a file for each: a crash leaves the old state of one or the new one, whole. */
export class SeedFiles {
  readonly #folder: string
  readonly #epoch: number
  readonly #log: Logger
  /** By id: what is to be written, or undefined for a file to remove. */
  readonly #waiting = new Map<string, KeptSeed | undefined>()
  #work: Promise<void> = Promise.resolve()

  /** @param options.epoch what to add to the seeds' times for milliseconds since 1970 */
  constructor(options: { readonly dataDir: string; readonly epoch: number }, log: Logger) {
    this.#folder = join(options.dataDir, FOLDER)
    this.#epoch = options.epoch
    this.#log = log
  }

  /** What was kept; what cannot be read is told and left where it is. */
  async load(): Promise<KeptSeed[]> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => this.#warn(error))
    const names = await readdir(this.#folder).catch(() => [])
    const seeds: KeptSeed[] = []
    for (const name of names) {
      const id = name.replace(/\.json$/, '')
      if (!name.endsWith('.json') || !ID.test(id)) continue
      try {
        seeds.push(this.#seedOf(id, JSON.parse(await readFile(join(this.#folder, name), 'utf8'))))
      } catch (error) {
        this.#log.warn({ file: join(this.#folder, name), error: describeError(error) }, 'a seed of an earlier time cannot be read')
      }
    }
    return seeds
  }

  /** Writes it as it then is; a later call for the same seed makes an earlier one that waits needless. */
  keep(seed: KeptSeed): void {
    this.#put(seed.id, seed)
  }

  forget(id: string): void {
    this.#put(id, undefined)
  }

  /** Resolves when the files say what they should, or cannot. */
  async settled(): Promise<void> {
    await this.#work
  }

  #put(id: string, seed: KeptSeed | undefined): void {
    const waits = this.#waiting.has(id)
    this.#waiting.set(id, seed)
    if (waits) return
    this.#work = this.#work.then(() => this.#write(id)).catch((error: unknown) => this.#warn(error))
  }

  async #write(id: string): Promise<void> {
    const seed = this.#waiting.get(id)
    this.#waiting.delete(id)
    const path = join(this.#folder, `${id}.json`)
    if (seed === undefined) {
      await rm(path, { force: true })
      return
    }
    await replaceFile(path, this.#textOf(seed))
  }

  #textOf({ spec, state, startedAt, endedAt, targets }: KeptSeed): string {
    return JSON.stringify({
      spec,
      state,
      startedAt: startedAt + this.#epoch,
      ...(endedAt === undefined ? {} : { endedAt: endedAt + this.#epoch }),
      targets: targets.map(({ awaitedSince: _, changed: __, ...told }) => told)
    })
  }

  #seedOf(id: string, value: unknown): KeptSeed {
    const { spec, state, startedAt, endedAt, targets } = keptSeed.parse(value)
    return {
      id,
      spec: { ...spec, platforms: spec.platforms },
      state,
      startedAt: startedAt - this.#epoch,
      endedAt: endedAt === undefined ? undefined : endedAt - this.#epoch,
      targets: targets.map((target) => ({
        ...target,
        id: target.id,
        digest: target.digest,
        stale: target.stale === true,
        error: target.error,
        awaitedSince: undefined,
        changed: 0
      }))
    }
  }

  #warn(error: unknown): void {
    this.#log.warn({ error: describeError(error) }, 'seeds cannot be kept; they will be lost when the tracker stops')
  }
}
