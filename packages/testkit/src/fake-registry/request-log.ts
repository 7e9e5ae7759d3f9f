import { EventEmitter, once } from 'node:events'
import type { RequestKind } from './faults.ts'

/** One request as the registry saw it. */
export interface RequestRecord {
  readonly kind: RequestKind
  readonly method: string
  readonly repository: string | undefined
  /** Digest or tag that the request names. */
  readonly reference: string | undefined
  readonly query: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Common name in the client's certificate. */
  readonly clientName: string | undefined
  /** Port of the client's end: tells connections apart. */
  readonly connection: number | undefined
  /** Status sent; 0 while none was, or when the connection was reset. */
  status: number
  /** Bytes of the body handed to the socket. */
  bytes: number
}

export interface RequestFilter {
  readonly kind?: RequestKind
  readonly method?: string
  readonly reference?: string
}

/** Requests kept in full. A registry that serves a demo for hours must not grow; the sums stay exact. */
const MAX_RECORDS = 20_000

/** Counts requests and payload bytes, so that a test can prove how often content left the registry. */
export class RequestLog {
  #records: RequestRecord[] = []
  readonly #bytes = new Map<string, number>()
  #payload = 0
  #open = 0
  readonly #changed = new EventEmitter().setMaxListeners(0)

  begin(record: Omit<RequestRecord, 'status' | 'bytes'>): RequestRecord {
    if (this.#records.length >= MAX_RECORDS) this.#records = this.#records.slice(MAX_RECORDS / 2)
    const entry = { ...record, status: 0, bytes: 0 }
    this.#records.push(entry)
    this.#open++
    this.#changed.emit('change')
    return entry
  }

  /** The connection or the reply of a request is over. */
  end(): void {
    this.#open--
    this.#changed.emit('change')
  }

  /** Waits for `count` requests, from the start on. */
  async seen(filter: RequestFilter = {}, count = 1): Promise<void> {
    while (this.count(filter) < count) await once(this.#changed, 'change')
  }

  /** Waits until no request is being answered. */
  async idle(): Promise<void> {
    while (this.#open > 0) await once(this.#changed, 'change')
  }

  sent(record: RequestRecord, bytes: number): void {
    record.bytes += bytes
    if (record.kind !== 'blob' && record.kind !== 'stored' && record.kind !== 'manifest') return
    this.#payload += bytes
    if (record.reference !== undefined) this.#bytes.set(record.reference, (this.#bytes.get(record.reference) ?? 0) + bytes)
  }

  /** The latest requests, oldest first. */
  requests(filter: RequestFilter = {}): readonly RequestRecord[] {
    return this.#records.filter(
      (record) =>
        (filter.kind === undefined || record.kind === filter.kind) &&
        (filter.method === undefined || record.method === filter.method) &&
        (filter.reference === undefined || record.reference === filter.reference)
    )
  }

  count(filter: RequestFilter = {}): number {
    return this.requests(filter).length
  }

  /** Bytes of blobs and manifests sent: all, or those asked for by this digest or tag. */
  payloadBytes(reference?: string): number {
    return reference === undefined ? this.#payload : (this.#bytes.get(reference) ?? 0)
  }

  clear(): void {
    this.#records = []
    this.#bytes.clear()
    this.#payload = 0
  }
}
