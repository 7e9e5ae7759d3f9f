import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { type Logger, shortDigest } from '@layerswarm/core/log.ts'
import type { AgentMetrics } from '@layerswarm/core/metrics.ts'
import type { SourceName } from './source.ts'

export type MirrorMetrics = Pick<AgentMetrics, 'bytes' | 'requests' | 'firstByteSeconds'>

export interface OutcomeDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly metrics?: MirrorMetrics | undefined
}

/** What becomes of one request: filled in on the way, told once at the end. */
export class Outcome {
  readonly #deps: OutcomeDeps
  readonly #started: number
  #bytes = 0
  kind: 'version' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'upload' | 'other' = 'other'
  scope: string | undefined
  tag: string | undefined
  digest: Digest | undefined
  status = 0
  source: SourceName | undefined
  result: 'served' | 'stored' | 'accepted' | 'unchanged' | 'missed' | 'refused' | 'failed' | 'cut' | 'aborted' = 'served'
  error: unknown

  constructor(deps: OutcomeDeps) {
    this.#deps = deps
    this.#started = deps.clock.now()
  }

  /** Bytes of content are on their way. */
  sent(bytes: number): void {
    const { clock, metrics } = this.#deps
    metrics?.bytes.inc({ direction: 'out', source: 'client' }, bytes)
    if (this.#bytes === 0) metrics?.firstByteSeconds.observe((clock.now() - this.#started) / 1000)
    this.#bytes += bytes
  }

  /** Bytes of content have come from the client. */
  received(bytes: number): void {
    this.#deps.metrics?.bytes.inc({ direction: 'in', source: 'client' }, bytes)
    this.#bytes += bytes
  }

  /** One line, and one count. Clients that go away are normal: containerd cuts off every range that it reads in chunks. */
  tell(method: string): void {
    const { clock, log, metrics } = this.#deps
    metrics?.requests.inc({ kind: this.kind, result: this.result, source: this.source ?? 'none' })
    const quiet = this.result === 'aborted' || this.result === 'accepted' || !['manifest', 'blob', 'upload'].includes(this.kind)
    log[quiet ? 'debug' : 'info'](
      {
        method,
        scope: this.scope,
        tag: this.tag,
        digest: this.digest === undefined ? undefined : shortDigest(this.digest),
        status: this.status,
        bytes: this.#bytes,
        source: this.source,
        ms: Math.round(clock.now() - this.#started),
        ...(this.error === undefined ? {} : { reason: describeError(this.error) })
      },
      `${this.kind} ${this.result}`
    )
  }
}
