import type { Clock } from '@layerswarm/core/clock.ts'
import { RateLimiter, type Throttle, together } from '@layerswarm/core/rate-limiter.ts'
import type { AgentConfig } from './config.ts'

export interface RateLimits {
  /** To peers. Local clients are served as fast as they read. */
  readonly upload: Throttle | undefined
  /** From peers, who share `--download-limit` with registries. */
  readonly download: Throttle | undefined
  readonly registry: Throttle | undefined
  /** What was set, bytes a second. */
  readonly rates: { readonly upload?: number; readonly download?: number; readonly registry?: number }
  /** What this host can be counted on for, bytes a second: the lowest of its limits. */
  readonly lowest: number | undefined
}

/** The limits that the operator has set. */
export function rateLimits(config: Pick<AgentConfig, 'uploadLimit' | 'downloadLimit' | 'registryLimit'>, clock: Clock): RateLimits {
  const { uploadLimit, downloadLimit, registryLimit } = config
  const limiter = (bytesPerSecond: number | undefined) =>
    bytesPerSecond === undefined ? undefined : new RateLimiter({ clock }, { bytesPerSecond })
  const download = limiter(downloadLimit)
  const rates = {
    ...(uploadLimit !== undefined && { upload: uploadLimit }),
    ...(downloadLimit !== undefined && { download: downloadLimit }),
    ...(registryLimit !== undefined && { registry: registryLimit })
  }
  const set = Object.values(rates)
  return {
    upload: limiter(uploadLimit),
    download,
    registry: together(limiter(registryLimit), download),
    rates,
    lowest: set.length === 0 ? undefined : Math.min(...set)
  }
}
