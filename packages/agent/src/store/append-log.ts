import type { FileHandle } from 'node:fs/promises'

/** Writes all of `bytes` at `position`: one system call may take less than it was given. */
export async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0
  while (done < bytes.byteLength) {
    done += (await file.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten
  }
}

/** Appends records in order, those that come while a write is under way together in the next. */
export class AppendLog {
  readonly #use: <T>(work: (file: FileHandle) => Promise<T>) => Promise<T>
  #end: number
  #pending: Uint8Array[] = []
  #next: Promise<void> | undefined
  #current: Promise<void> = Promise.resolve()

  /** @param end where to append: a torn record behind it is overwritten */
  constructor(use: <T>(work: (file: FileHandle) => Promise<T>) => Promise<T>, end: number) {
    this.#use = use
    this.#end = end
  }

  /** Resolves once the record is in the file. */
  async append(record: Uint8Array): Promise<void> {
    this.#pending.push(record)
    this.#next ??= this.#current.then(
      () => this.#flush(),
      () => this.#flush()
    )
    await this.#next
  }

  /** Resolves once nothing is under way. */
  async settled(): Promise<void> {
    await (this.#next ?? this.#current).catch(() => {})
  }

  #flush(): Promise<void> {
    const batch = Buffer.concat(this.#pending)
    this.#pending = []
    this.#next = undefined
    this.#current = this.#use(async (file) => {
      await writeFully(file, batch, this.#end)
      this.#end += batch.byteLength
    })
    return this.#current
  }
}
