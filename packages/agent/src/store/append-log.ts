import type { FileHandle } from 'node:fs/promises'

/** Writes all of `bytes` at `position`: one system call may take less than it was given. */
export async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0
  while (done < bytes.byteLength) {
    done += (await file.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten
  }
}

/** A record that is only noted is written after this at the latest, ms: what a process that is killed forgets. */
const LAG_MS = 100
/** Bytes noted at which they are written at once. */
const LAG_BYTES = 64 * 1024

/** Appends records in order, those that come within a short time together. */
export class AppendLog {
  readonly #use: <T>(work: (file: FileHandle) => Promise<T>) => Promise<T>
  #end: number
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  #timer: NodeJS.Timeout | undefined
  #next: Promise<void> | undefined
  #current: Promise<void> = Promise.resolve()

  /** @param end where to append: a torn record behind it is overwritten */
  constructor(use: <T>(work: (file: FileHandle) => Promise<T>) => Promise<T>, end: number) {
    this.#use = use
    this.#end = end
  }

  /** Appends the record soon. One that cannot be written is lost, and with it what it says: that is found out anew. */
  note(record: Uint8Array): void {
    this.#pending.push(record)
    this.#pendingBytes += record.byteLength
    if (this.#pendingBytes >= LAG_BYTES) this.#flushSoon().catch(() => undefined)
    else this.#timer ??= setTimeout(() => this.#flushSoon().catch(() => undefined), LAG_MS)
  }

  /** Resolves once the record is in the file, and all before it. */
  async append(record: Uint8Array): Promise<void> {
    this.#pending.push(record)
    await this.#flushSoon()
  }

  /** Resolves once all records are in the file, or could not be written. */
  async flush(): Promise<void> {
    if (this.#pending.length > 0) await this.#flushSoon().catch(() => undefined)
    else await this.#current.catch(() => undefined)
  }

  /** Forgets what was only noted, and resolves once nothing is under way: nobody will read the file. */
  async end(): Promise<void> {
    this.#take()
    await (this.#next ?? this.#current).catch(() => undefined)
  }

  #flushSoon(): Promise<void> {
    this.#next ??= this.#current.then(
      () => this.#flush(),
      () => this.#flush()
    )
    return this.#next
  }

  #take(): Uint8Array {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = Buffer.concat(this.#pending)
    this.#pending = []
    this.#pendingBytes = 0
    return batch
  }

  #flush(): Promise<void> {
    const batch = this.#take()
    this.#next = undefined
    if (batch.byteLength > 0)
      this.#current = this.#use(async (file) => {
        await writeFully(file, batch, this.#end)
        this.#end += batch.byteLength
      })
    return this.#current
  }
}
