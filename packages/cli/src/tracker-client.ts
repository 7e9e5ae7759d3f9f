/** HTTP with the tracker of a fleet: what it is asked, and how it answers. */
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { request as requestSecure } from 'node:https'
import { text as collect } from 'node:stream/consumers'
import { errorReply } from '@layerswarm/core/api/local-api.ts'
import {
  SEED_PATH,
  type SeedDetail,
  type SeedRequest,
  type SeedSummary,
  seedBegun,
  seedDetail,
  seedList
} from '@layerswarm/core/api/seed-api.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { reported, type Shape } from './agent-client.ts'
import { readToken } from './tracker-token.ts'

/** Which tracker is asked, and what it is shown. */
export interface TrackerOptions {
  readonly trackerUrl: URL
  readonly tokenFile?: string
}

interface Change {
  readonly method: 'POST' | 'DELETE'
  readonly body?: object
}

/** A tracker that does its work answers in milliseconds. */
const ANSWER_MS = 10_000

/** Asks a tracker about its seeds. */
export class TrackerClient {
  readonly #options: TrackerOptions
  readonly #signal: AbortSignal

  constructor(options: TrackerOptions, signal: AbortSignal) {
    this.#options = options
    this.#signal = signal
  }

  /** @throws {LayerswarmError} what the tracker reports, TRACKER_API_UNREACHABLE, TOKEN_INVALID */
  async begin(request: SeedRequest): Promise<{ joined: boolean; seed: SeedSummary }> {
    return await this.#ask(SEED_PATH, seedBegun, { method: 'POST', body: request })
  }

  /** @throws as {@link begin} */
  async cancel(id: string): Promise<SeedDetail> {
    return await this.#ask(`${SEED_PATH}/${encodeURIComponent(id)}`, seedDetail, { method: 'DELETE' })
  }

  /** @throws {LayerswarmError} what the tracker reports, TRACKER_API_UNREACHABLE */
  async seed(id: string, since?: number): Promise<SeedDetail> {
    return await this.#ask(`${SEED_PATH}/${encodeURIComponent(id)}${since === undefined ? '' : `?since=${since}`}`, seedDetail)
  }

  /** Latest first. @throws as {@link seed} */
  async seeds(): Promise<SeedSummary[]> {
    return (await this.#ask(SEED_PATH, seedList)).seeds
  }

  async #ask<T>(path: string, shape: Shape<T>, change?: Change): Promise<T> {
    const { status, body } = await this.#request(path, change)
    const told = parsed(body)
    if (status >= 200 && status < 300) {
      const answer = shape.safeParse(told)
      if (answer.success) return answer.data
    } else {
      const failure = errorReply.safeParse(told)
      if (failure.success) throw reported(failure.data)
    }
    const detail = `${this.#options.trackerUrl.href} answers ${status}, as no tracker of this version does`
    throw new LayerswarmError('TRACKER_API_UNREACHABLE', { detail })
  }

  /** `fetch` refuses a tracker's usual port, since another protocol has it. */
  async #request(path: string, change: Change | undefined): Promise<{ status: number; body: string }> {
    const url = new URL(path, this.#options.trackerUrl)
    const body = change?.body === undefined ? undefined : JSON.stringify(change.body)
    const headers = {
      ...(change && { authorization: `Bearer ${await readToken(this.#options.tokenFile)}` }),
      ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    }
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(ANSWER_MS)])
    try {
      const asking = (url.protocol === 'https:' ? requestSecure : request)(url, { method: change?.method ?? 'GET', headers, signal })
      asking.end(body)
      const [response] = (await once(asking, 'response')) as [IncomingMessage]
      return { status: response.statusCode ?? 0, body: await collect(response) }
    } catch (error) {
      this.#signal.throwIfAborted()
      const why = signal.aborted ? `no answer within ${ANSWER_MS / 1000} s` : describeError(error)
      throw new LayerswarmError('TRACKER_API_UNREACHABLE', { detail: `${this.#options.trackerUrl.href}: ${why}` })
    }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
