import { join } from 'node:path'
import { describeError } from '@layerswarm/core/errors.ts'
import type { Logger } from 'pino'
import { z } from 'zod'
import { readJson, writeJson } from './json-file.ts'

const FILE_NAME = 'trackers.json'

/** Which tracker answered at which address the first time, for addresses that name no id. The cluster key let it in. */
export class TrackerPins {
  readonly #path: string
  readonly #log: Logger
  readonly #pins: Map<string, string>

  private constructor(path: string, pins: Map<string, string>, log: Logger) {
    this.#path = path
    this.#pins = pins
    this.#log = log
  }

  static async open(dataDir: string, log: Logger): Promise<TrackerPins> {
    const path = join(dataDir, FILE_NAME)
    const pins = (await readJson(path, z.record(z.string().max(256), z.string().max(128)))) ?? {}
    return new TrackerPins(path, new Map(Object.entries(pins)), log)
  }

  /** The id that answered at `address` before. */
  get(address: string): string | undefined {
    return this.#pins.get(address)
  }

  /** Takes note of who answered, and warns when it is another than before. */
  async note(address: string, id: string): Promise<void> {
    const before = this.#pins.get(address)
    if (before === id) return
    if (before !== undefined) {
      this.#log.warn(
        { address, before, now: id },
        'ANOTHER TRACKER ANSWERS at this address than before: right if its data directory was renewed; if not, somebody with the cluster key poses as it'
      )
    }
    this.#pins.set(address, id)
    await writeJson(this.#path, Object.fromEntries(this.#pins)).catch((error: unknown) =>
      this.#log.warn({ error: describeError(error) }, 'cannot keep the id of the tracker')
    )
  }
}
