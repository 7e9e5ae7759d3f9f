/** What a request is for, as far as faults and counts tell requests apart. `stored` is a blob at the redirect target. */
export type RequestKind = 'ping' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'upload' | 'token' | 'stored' | 'other'

/** What goes wrong with a reply. Several may be combined; offsets count the bytes of the reply's own body. */
export interface Fault {
  /** Nothing is answered before this settles. */
  readonly hold?: Promise<unknown>
  /** The connection is reset before any header. */
  readonly reset?: boolean
  /** Something that is no HTTP is answered. */
  readonly garbage?: boolean
  /** An error reply instead of the content. */
  readonly status?: number
  /** Headers to set, or with `undefined` to leave out. */
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** Range is ignored. */
  readonly noRange?: boolean
  /** The connection closes after this many bytes of the body. */
  readonly cutAfter?: number
  /** Nothing more comes after this many bytes of the body, the connection stays open. */
  readonly stallAfter?: number
  /** The content is this many bytes too short, consistently in headers and body. */
  readonly short?: number
  /** The content is this many bytes too long, consistently in headers and body. */
  readonly long?: number
  /** White space before the content of a document: valid JSON still, however long. */
  readonly pad?: number
  /** The byte at this offset of the body is flipped. */
  readonly corruptAt?: number
  /** The body is compressed although nobody asked for it. */
  readonly gzip?: boolean
  /** The connection is reset once this many bytes of an upload have come; they are kept. */
  readonly breakUploadAfter?: number
  /** Bytes per second. */
  readonly rate?: number
  /** A blob or manifest is sent from another origin, which rejects Authorization. The address is good for `uses` requests (default: always). */
  readonly redirect?: { readonly uses?: number; readonly status?: 301 | 302 | 303 | 307 | 308 }
}

export interface FaultRule {
  readonly kind?: RequestKind
  readonly method?: string
  /** Digest or tag that the request names. */
  readonly reference?: string
  /** Requests that are left alone first. */
  readonly skip?: number
  /** Requests that are hit; default: all. */
  readonly times?: number
  readonly fault: Fault
}

/** An active rule. Disposing lifts the fault. */
export interface ActiveFault extends Disposable {
  /** Requests hit so far. */
  readonly hits: number
}

/** The faults in force. */
export class FaultBook {
  readonly #active = new Set<{ readonly rule: FaultRule; seen: number; hits: number }>()

  add(rule: FaultRule): ActiveFault {
    const entry = { rule, seen: 0, hits: 0 }
    this.#active.add(entry)
    return {
      get hits() {
        return entry.hits
      },
      [Symbol.dispose]: () => {
        this.#active.delete(entry)
      }
    }
  }

  clear(): void {
    this.#active.clear()
  }

  /** The faults that hit this request, later rules over earlier ones. */
  take(request: { readonly kind: RequestKind; readonly method: string; readonly reference: string | undefined }): Fault {
    let fault: Fault = {}
    for (const entry of this.#active) {
      const { rule } = entry
      if (rule.kind !== undefined && rule.kind !== request.kind) continue
      if (rule.method !== undefined && rule.method !== request.method) continue
      if (rule.reference !== undefined && rule.reference !== request.reference) continue
      entry.seen++
      if (entry.seen <= (rule.skip ?? 0) || entry.hits >= (rule.times ?? Number.POSITIVE_INFINITY)) continue
      entry.hits++
      fault = { ...fault, ...rule.fault }
    }
    return fault
  }
}
