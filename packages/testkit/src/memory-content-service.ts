import { EventEmitter } from 'node:events'
import type { Abortable, ByteRange, ContentRef, ContentService, OpenContent, SourceCounts } from '@layerswarm/agent/ports.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'

const CHUNK = 64 * 1024
/** A reader that has not come back by then is held up by its own client, ms. */
const IDLE_MS = 100

/** How one blob misbehaves. */
export interface ContentFault {
  /** `open` fails with it. */
  readonly openError?: Error
  /** Nothing is read before it settles; a rejection is what `read` throws. */
  readonly gate?: Promise<unknown>
  /** Bytes of each read after which `error` is thrown, or nothing more comes where there is none. */
  readonly after?: number
  readonly error?: Error
  /** The read ends there, as if it were whole. */
  readonly ends?: boolean
  /** What `counts` says; may be changed while content is open. */
  readonly counts?: SourceCounts
  /** What `moved` says: bytes that have come in, also of pieces that are not whole. */
  readonly moved?: () => number
}

/** Content by digest, in memory, with faults: for tests of what stands in front of a content service. */
export class MemoryContentService implements ContentService {
  readonly blobs = new Map<Digest, Uint8Array>()
  readonly faults = new Map<Digest, ContentFault>()
  /** What the fleet knows, by `scope@digest`. */
  readonly fleet = new Map<string, { size: number; mediaType?: string }>()
  /** When set, `lookup` throws it. */
  lookupError: Error | undefined
  readonly opened: ContentRef[] = []
  readonly expected: { readonly scope: string; readonly layers: readonly Descriptor[] }[] = []
  /** Content open now. */
  held = 0
  /** Bytes given to readers. */
  given = 0
  /**
   * Emits, each with a digest: `opened`; `waiting` when a reader waits for bytes that do not come, or is not asked for
   * more for {@link IDLE_MS}; `closed` when content is disposed.
   */
  readonly events = new EventEmitter()

  async open(ref: ContentRef, _hint: { readonly size?: number }, options: Abortable = {}): Promise<OpenContent> {
    options.signal?.throwIfAborted()
    this.opened.push(ref)
    const fault = this.faults.get(ref.digest) ?? {}
    if (fault.openError !== undefined) throw fault.openError
    const bytes = this.blobs.get(ref.digest)
    if (bytes === undefined) throw new LayerswarmError('NOT_FOUND', { detail: ref.digest })
    this.held++
    this.events.emit('opened', ref.digest)
    return {
      size: bytes.byteLength,
      counts: () => fault.counts ?? { local: bytes.byteLength, peer: 0, registry: 0 },
      moved: () => fault.moved?.() ?? 0,
      read: (range, read = {}) => this.#read(ref.digest, bytes, range, fault, read.signal),
      [Symbol.asyncDispose]: async () => {
        this.held--
        this.events.emit('closed', ref.digest)
      }
    }
  }

  expect(scope: string, layers: readonly Descriptor[]): void {
    this.expected.push({ scope, layers })
  }

  async lookup(scope: string, digest: Digest, options: Abortable = {}): Promise<{ size: number; mediaType?: string } | undefined> {
    options.signal?.throwIfAborted()
    if (this.lookupError !== undefined) throw this.lookupError
    return this.fleet.get(`${scope}@${digest}`)
  }

  async *#read(digest: Digest, bytes: Uint8Array, range: ByteRange, fault: ContentFault, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const stop = Promise.withResolvers<never>()
    stop.promise.catch(() => undefined)
    const onAbort = () => stop.reject(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([fault.gate, stop.promise])
      const end = Math.min(range.end, range.start + (fault.after ?? Number.POSITIVE_INFINITY))
      for (let at = range.start; at < end; at += CHUNK) {
        signal?.throwIfAborted()
        const chunk = bytes.subarray(at, Math.min(end, at + CHUNK))
        this.given += chunk.byteLength
        const idle = setTimeout(() => this.events.emit('waiting', digest), IDLE_MS)
        try {
          yield chunk
        } finally {
          clearTimeout(idle)
        }
      }
      if (end === range.end || fault.ends === true) return
      if (fault.error !== undefined) throw fault.error
      this.events.emit('waiting', digest)
      await stop.promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }
}
