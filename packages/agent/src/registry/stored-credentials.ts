import type { Clock } from '@layerswarm/core/clock.ts'
import { within } from '@layerswarm/core/deadline.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { fullRepository } from '@layerswarm/core/image/reference.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { Abortable } from '../ports.ts'
import { type AuthFile, helperFor, parseAuthFile, serverKeys, storedFor } from './auth-file.ts'
import { askHelper } from './credential-helper.ts'
import type { Credential, CredentialSource } from './credentials.ts'
import { MAX_REMEMBERED } from './limits.ts'
import { Remembered } from './remembered.ts'
import { orAborted } from './transport.ts'
import { WatchedFile } from './watched-file.ts'

/** A helper that talks to a cloud takes a second or two; a client waits a few seconds for its first byte. */
const HELPER_MS = 10_000
/** How long a helper's answer counts, ms: short beside the hours that tokens of clouds live. */
const FOUND_MS = 60_000
/** How long it counts that a helper has nothing, or failed, ms: somebody may just be logging in. */
const NOT_FOUND_MS = 5_000

export interface StoredCredentialsDeps {
  readonly clock: Clock
  readonly log: Pick<Logger, 'warn'>
}

export interface StoredCredentialsOptions {
  /** A file that the operator named: the first to ask. */
  readonly named: string | undefined
  /** Files that may be there, the first to ask first. */
  readonly files: readonly string[]
  /** For the credential helpers, which are looked up in its PATH. */
  readonly env: Readonly<Record<string, string | undefined>>
}

interface Answer {
  until: number
  readonly credential: Promise<Credential | undefined>
}

/**
 * The credentials that the operator's other tools have stored. In each file a registry's own helper comes before the one
 * for all, and both before what the file itself says. Files are read again when they change.
 */
export class StoredCredentials implements CredentialSource, AsyncDisposable {
  readonly #deps: StoredCredentialsDeps
  readonly #env: StoredCredentialsOptions['env']
  readonly #files: readonly WatchedFile<AuthFile>[]
  readonly #answers = new Remembered<string, Answer>(MAX_REMEMBERED)
  readonly #asking = new Set<Promise<unknown>>()
  /** Told as failing; no more than there are registries. */
  readonly #failing = new Set<string>()
  readonly #stop = new AbortController()

  constructor(deps: StoredCredentialsDeps, options: StoredCredentialsOptions) {
    this.#deps = deps
    this.#env = options.env
    const { named, files } = options
    const watched = (path: string, expected: boolean) => new WatchedFile(path, parseAuthFile, deps, { expected })
    this.#files = [...(named === undefined ? [] : [watched(named, true)]), ...files.map((path) => watched(path, false))]
  }

  /** @throws {LayerswarmError} REGISTRY_DENIED when a helper that should know fails; the signal's reason */
  async find(registry: string, repository: string, { signal }: Abortable = {}): Promise<Credential | undefined> {
    const path = fullRepository(registry, repository)
    for (const watched of this.#files) {
      const file = await watched.current()
      if (file === undefined) continue
      for (const helper of helperFor(file, registry)) {
        for (const server of serverKeys(registry)) {
          const credential = await orAborted(this.#ask(helper, server), signal)
          if (credential !== undefined) return credential
        }
      }
      const credential = storedFor(file.auths, registry, path)
      if (credential !== undefined) return credential
    }
    return undefined
  }

  /** Ends helpers that run, and waits until they are gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new LayerswarmError('STOPPING'))
    await Promise.allSettled(this.#asking)
  }

  /** One question at a time, whoever asks; so none of their signals ends it. */
  #ask(helper: string, server: string): Promise<Credential | undefined> {
    const { clock, log } = this.#deps
    const key = `${helper} ${server}`
    const known = this.#answers.get(key)
    if (known !== undefined && known.until > clock.now()) return known.credential
    const answer: Answer = { until: Number.POSITIVE_INFINITY, credential: this.#run(helper, server) }
    this.#answers.set(key, answer)
    answer.credential.then(
      (found) => {
        answer.until = clock.now() + (found === undefined ? NOT_FOUND_MS : FOUND_MS)
        this.#failing.delete(key)
      },
      (error: unknown) => {
        answer.until = clock.now() + NOT_FOUND_MS
        if (this.#failing.has(key) || this.#stop.signal.aborted) return
        this.#failing.add(key)
        log.warn({ server, reason: describeError(error) }, 'credential helper failed')
      }
    )
    return answer.credential
  }

  async #run(helper: string, server: string): Promise<Credential | undefined> {
    const late = () =>
      new LayerswarmError('REGISTRY_DENIED', { detail: `docker-credential-${helper} took longer than ${HELPER_MS / 1000} s` })
    return await within({ clock: this.#deps.clock, ms: HELPER_MS, late, signal: this.#stop.signal }, (signal) => {
      const running = askHelper(helper, server, { env: this.#env, signal })
      this.#asking.add(running)
      running.catch(() => undefined).finally(() => this.#asking.delete(running))
      return running
    })
  }
}
