import { randomUUID } from 'node:crypto'
import type { Clock } from '@layerswarm/core/clock.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { Abortable, BlobIntake, IncomingBlob, RegistryUpload, RegistryUploads } from '../ports.ts'

/** A client that has not come back by then has gone: longest pause between two requests of an upload, ms. */
const IDLE_MS = 30 * 60_000
/** Clients push about five blobs at a time: more than a host's own clients open, few enough files. */
const MAX_SESSIONS = 128

export interface UploadSessionsDeps {
  readonly uploads: Pick<RegistryUploads, 'open'>
  readonly intake: BlobIntake
  readonly clock: Clock
  readonly log: Logger
}

/** One blob on its way through: what has come of it, and the registry's upload that it goes on to. */
export class UploadSession {
  readonly id = randomUUID()
  readonly scope: string
  readonly blob: IncomingBlob
  readonly upload: RegistryUpload
  /** Aborted when the session ends. */
  readonly ended = new AbortController()
  usedAt: number
  #running: { readonly stop: AbortController; readonly done: Promise<unknown> } | undefined

  constructor(scope: string, parts: { readonly blob: IncomingBlob; readonly upload: RegistryUpload }, now: number) {
    this.scope = scope
    this.blob = parts.blob
    this.upload = parts.upload
    this.usedAt = now
  }

  get busy(): boolean {
    return this.#running !== undefined
  }

  /**
   * Runs `work` alone. What is under way is stopped first: its client has lost the connection, and this is it again.
   * @throws {LayerswarmError} UPLOAD_UNKNOWN, STOPPING, when it ended in the meantime, and what `work` throws
   */
  async alone<T>({ signal }: { readonly signal: AbortSignal }, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    while (this.#running !== undefined) {
      this.#running.stop.abort(new DOMException('another request took the upload over', 'AbortError'))
      await this.#running.done
    }
    this.ended.signal.throwIfAborted()
    const stop = new AbortController()
    const result = work(AbortSignal.any([signal, stop.signal, this.ended.signal]))
    const running = { stop, done: result.catch(() => undefined) }
    this.#running = running
    try {
      return await result
    } finally {
      this.#running = undefined
    }
  }

  /** The registry has its blob: whoever waits to go on with it has nothing to add. */
  complete(): void {
    this.ended.abort(new LayerswarmError('UPLOAD_UNKNOWN', { detail: 'it is complete' }))
  }

  /** Ends what is under way and forgets what has come. */
  async end(why: unknown): Promise<void> {
    this.ended.abort(why)
    await this.#running?.done
    await this.blob[Symbol.asyncDispose]()
  }
}

/** The uploads that clients have open here. They do not outlive this process: a client is told to begin anew. */
export class UploadSessions implements AsyncDisposable {
  readonly #deps: UploadSessionsDeps
  readonly #sessions = new Map<string, UploadSession>()
  readonly #expiring = new Set<Promise<void>>()
  /** Uploads that are being opened: they take a place already. */
  #opening = 0
  #closed = false

  constructor(deps: UploadSessionsDeps) {
    this.#deps = deps
  }

  /**
   * Opens an upload at the registry, which says at once whether it grants that.
   * @returns undefined when the registry has mounted `options.mount`
   * @throws {LayerswarmError} UPLOAD_LIMIT, STORE_FULL, STORE_FAILED, STOPPING, and as {@link RegistryUploads.open}
   */
  async open(
    repository: { readonly registry: string; readonly repository: string },
    options: Parameters<RegistryUploads['open']>[1] & Abortable
  ): Promise<UploadSession | undefined> {
    this.#opening++
    try {
      await this.#makeRoom()
      return await this.#open(repository, options)
    } finally {
      this.#opening--
    }
  }

  async #open(...[repository, options]: Parameters<UploadSessions['open']>): Promise<UploadSession | undefined> {
    const { uploads, intake, clock } = this.#deps
    const upload = await uploads.open(repository, options)
    if (upload === undefined) return undefined
    const blob = await intake.receive().catch(async (error: unknown) => {
      await upload.cancel()
      throw error
    })
    if (this.#closed) {
      await Promise.all([blob[Symbol.asyncDispose](), upload.cancel()])
      throw new LayerswarmError('STOPPING')
    }
    const session = new UploadSession(scopeOf(repository), { blob, upload }, clock.now())
    this.#sessions.set(session.id, session)
    const expiring = this.#expire(session).finally(() => this.#expiring.delete(expiring))
    this.#expiring.add(expiring)
    return session
  }

  /** @throws {LayerswarmError} UPLOAD_UNKNOWN, also for one of another repository */
  find(id: string, repository: { readonly registry: string; readonly repository: string }): UploadSession {
    const session = this.#sessions.get(id)
    if (session === undefined || session.scope !== scopeOf(repository))
      throw new LayerswarmError('UPLOAD_UNKNOWN', { detail: id.slice(0, 100) })
    session.usedAt = this.#deps.clock.now()
    return session
  }

  /** Ends a session whose blob the registry has. */
  async done(session: UploadSession): Promise<void> {
    await this.#remove(session, new Error('the upload is complete'))
  }

  /** Ends a session, at the registry too. */
  async cancel(session: UploadSession, why: string): Promise<void> {
    if (!this.#sessions.has(session.id)) return
    await this.#cancel(session, new LayerswarmError('UPLOAD_UNKNOWN', { detail: why }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    const stopping = new LayerswarmError('STOPPING')
    await Promise.all([...this.#sessions.values()].map((session) => this.#cancel(session, stopping)))
    await Promise.all(this.#expiring)
  }

  async #cancel(session: UploadSession, why: unknown): Promise<void> {
    await this.#remove(session, why)
    await session.upload.cancel()
  }

  async #remove(session: UploadSession, why: unknown): Promise<void> {
    this.#sessions.delete(session.id)
    await session.end(why).catch((error: unknown) => {
      this.#deps.log.warn({ scope: session.scope, error: describeError(error) }, 'what was left of an upload could not be removed')
    })
  }

  /** The one that has waited longest for its client gives way. */
  async #makeRoom(): Promise<void> {
    if (this.#sessions.size + this.#opening <= MAX_SESSIONS) return
    const idle = [...this.#sessions.values()].filter(({ busy }) => !busy).sort((a, b) => a.usedAt - b.usedAt)[0]
    if (idle === undefined) throw new LayerswarmError('UPLOAD_LIMIT', { detail: `${MAX_SESSIONS}` })
    await this.cancel(idle, 'too many uploads are open')
  }

  async #expire(session: UploadSession): Promise<void> {
    const { clock } = this.#deps
    while (!session.ended.signal.aborted) {
      const left = session.usedAt + IDLE_MS - clock.now()
      if (left <= 0 && !session.busy) return await this.cancel(session, 'its client has not come back')
      await clock.sleep(left > 0 ? left : IDLE_MS, { signal: session.ended.signal }).catch(() => undefined)
    }
  }
}
