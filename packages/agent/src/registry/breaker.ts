import type { Clock } from '@layerswarm/core/clock.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { BUSY_DEFAULT_MS, BUSY_MAX_MS } from './limits.ts'

/** Waits are stretched by up to this share, so that the hosts of a fleet do not come back in the same instant. */
const JITTER_SHARE = 0.1

export interface BreakerDeps {
  readonly clock: Clock
  /** 0 up to 1. */
  readonly random: () => number
}

/** Keeps this host from asking a registry that named a time until which it wants peace. */
export class Breaker {
  readonly #deps: BreakerDeps
  readonly #until = new Map<string, number>()

  constructor(deps: BreakerDeps) {
    this.#deps = deps
  }

  /** @throws {LayerswarmError} REGISTRY_BUSY while the time is not over. */
  check(registry: string): void {
    const until = this.#until.get(registry)
    if (until === undefined) return
    const left = until - this.#deps.clock.now()
    if (left > 0) throw busy(registry, left)
    this.#until.delete(registry)
  }

  /** Opens for `ms`, or longer when it is open already. @returns the error to throw */
  trip(registry: string, ms: number): LayerswarmError {
    const { clock, random } = this.#deps
    const wait = Math.min(BUSY_MAX_MS, ms) * (1 + JITTER_SHARE * random())
    this.#until.set(registry, Math.max(this.#until.get(registry) ?? 0, clock.now() + wait))
    return busy(registry, wait)
  }
}

function busy(registry: string, ms: number): LayerswarmError {
  return new LayerswarmError('REGISTRY_BUSY', { detail: `${registry} is asked again in ${Math.ceil(ms / 1000)} s` })
}

/**
 * How long a reply asks to stay away, in ms; undefined when it does not.
 * @param retryAfter seconds or an HTTP date (RFC 9110 §10.2.3)
 * @param date the reply's own Date: a date is compared with it, since the two clocks may differ
 */
export function busyTime(status: number, retryAfter: string | undefined, date: string | undefined): number | undefined {
  if (status !== 429 && (status !== 503 || retryAfter === undefined)) return undefined
  if (retryAfter === undefined) return BUSY_DEFAULT_MS
  if (/^\d+$/.test(retryAfter)) return Number(retryAfter) * 1000
  const sent = Date.parse(date ?? '')
  const wait = Date.parse(retryAfter) - (Number.isNaN(sent) ? Date.now() : sent)
  return Number.isNaN(wait) ? BUSY_DEFAULT_MS : Math.max(0, wait)
}
