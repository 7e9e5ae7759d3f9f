import type { Abortable, IncomingBlob } from '../ports.ts'

/**
 * A request's body on its way: taken into the store chunk by chunk, no faster than the registry takes it, and given to
 * the registry from there: the same bytes again when the upload there breaks. Once it is disposed nothing more of the body
 * gets into the store, however late it comes: another request may go on then.
 */
export class Arrival implements AsyncDisposable {
  readonly #body: AsyncIterator<Uint8Array>
  readonly #blob: IncomingBlob
  readonly #received: (bytes: number) => void
  #latest: { readonly start: number; readonly bytes: Uint8Array } | undefined
  #taking: Promise<boolean> | undefined
  #appending: Promise<void> = Promise.resolve()
  #left = false
  #end: { readonly failure?: unknown } | undefined

  /** @param received told the bytes of each chunk */
  constructor(body: AsyncIterator<Uint8Array>, blob: IncomingBlob, received: (bytes: number) => void) {
    this.#body = body
    this.#blob = blob
    this.#received = received
  }

  /**
   * Takes in the next chunk; those who ask meanwhile wait for the same one.
   * @returns false at the end of the body
   * @throws what broke the body, {LayerswarmError} STORE_FULL, STORE_FAILED; from then on always. The signal's reason
   */
  async next({ signal }: Abortable = {}): Promise<boolean> {
    signal?.throwIfAborted()
    this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined
    })
    const { promise: stopped, reject } = Promise.withResolvers<never>()
    const onAbort = () => reject(signal?.reason)
    signal?.addEventListener('abort', onAbort)
    try {
      return await Promise.race([this.#taking, stopped])
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** The blob's bytes from an offset on, and those that are still to come, until the body ends. */
  async *content(from: number): AsyncGenerator<Uint8Array> {
    for (let at = from; at < this.#blob.size || (await this.next()); ) {
      if (this.#latest?.start === at) {
        yield this.#latest.bytes
        at += this.#latest.bytes.byteLength
        continue
      }
      for await (const chunk of this.#blob.read({ start: at, end: this.#blob.size })) {
        yield chunk
        at += chunk.byteLength
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#left = true
    await this.#appending.catch(() => undefined)
  }

  async #take(): Promise<boolean> {
    if (this.#end !== undefined) {
      if ('failure' in this.#end) throw this.#end.failure
      return false
    }
    try {
      const step = await this.#body.next()
      if (step.done === true) {
        this.#end = {}
        return false
      }
      if (this.#left) throw new Error('the rest of the body is not wanted')
      const start = this.#blob.size
      this.#appending = this.#blob.append(step.value)
      await this.#appending
      this.#latest = { start, bytes: step.value }
      this.#received(step.value.byteLength)
      return true
    } catch (failure) {
      this.#end = { failure }
      throw failure
    }
  }
}
