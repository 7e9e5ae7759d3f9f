import net from 'node:net'

const READ_BYTES = 256 * 1024
const HEAD_END = '\r\n\r\n'

export interface CountedBody {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly bytes: number
  /** Until the head of the answer was there, ms. */
  readonly firstByteMs: number
}

export interface CountOrder {
  readonly host: string
  readonly port: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Read no further than this many bytes of the body until `resume`. */
  readonly pauseAt?: number
}

/** Holds and ends an exchange. */
interface Control {
  resume(): void
  abort(): void
}

/**
 * GETs bodies only to count them, into one buffer that is used again and again: clients of a benchmark run on the
 * cores that it measures, and what they take is missing there. Connections are kept, as container runtimes do.
 */
export class CountingClient {
  readonly #idle = new Map<string, Connection[]>()

  /** @throws if the connection breaks, or the answer does not say its length. */
  async get(order: CountOrder, began: (control: Control) => void): Promise<CountedBody> {
    const key = `${order.host}:${order.port}`
    const idle = (this.#idle.get(key) ?? []).filter(({ open }) => open)
    this.#idle.set(key, idle)
    const reused = idle.pop()
    if (reused !== undefined) {
      try {
        return await this.#exchange(reused, key, order, began)
      } catch (error) {
        // A server closes what it has not heard of for a while, which may cross with what is asked next.
        if (!reused.unanswered) throw error
      }
    }
    return await this.#exchange(await Connection.open(order.host, order.port), key, order, began)
  }

  async #exchange(connection: Connection, key: string, order: CountOrder, began: (control: Control) => void): Promise<CountedBody> {
    began(connection)
    const body = await connection.get(order)
    this.#idle.get(key)?.push(connection)
    return body
  }
}

/** One exchange at a time. */
class Connection {
  readonly #socket: net.Socket
  #receive: (bytes: Uint8Array) => void = () => {}
  #fail: (error: Error) => void = () => {}
  /** Nothing of the answer has come, and it is still wanted. */
  unanswered = true

  private constructor(socket: net.Socket) {
    this.#socket = socket
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('The connection was closed within the answer.')))
    // Else the end of what the server says is never seen, and the connection never closes.
    socket.resume()
  }

  static async open(host: string, port: number): Promise<Connection> {
    return await new Promise((resolve, reject) => {
      const callback = (length: number, buffer: Uint8Array): boolean => {
        connection.#receive(buffer.subarray(0, length))
        return true
      }
      const socket = net.connect({ host, port, onread: { buffer: Buffer.alloc(READ_BYTES), callback } }, () => resolve(connection))
      const connection = new Connection(socket)
      connection.#fail = reject
    })
  }

  get open(): boolean {
    return !this.#socket.destroyed
  }

  resume(): void {
    this.#socket.resume()
  }

  abort(): void {
    this.unanswered = false
    this.#socket.destroy(new Error('aborted'))
  }

  get({ host, port, path, headers, pauseAt = Number.POSITIVE_INFINITY }: CountOrder): Promise<CountedBody> {
    return new Promise((resolve, reject) => {
      const started = performance.now()
      let text = ''
      let head: Omit<CountedBody, 'bytes'> | undefined
      let length = 0
      let bytes = 0
      let held = false
      this.#fail = reject
      this.unanswered = true
      this.#receive = (chunk) => {
        this.unanswered = false
        let body = chunk.byteLength
        if (head === undefined) {
          const before = text.length
          text += Buffer.from(chunk).toString('latin1')
          const end = text.indexOf(HEAD_END)
          if (end < 0) return
          head = { ...parseHead(text.slice(0, end)), firstByteMs: performance.now() - started }
          length = Number(head.headers['content-length'])
          if (Number.isNaN(length)) return void this.#socket.destroy(new Error('The answer does not say its length.'))
          body = before + chunk.byteLength - (end + HEAD_END.length)
        }
        bytes += body
        if (!held && bytes >= pauseAt) {
          held = true
          this.#socket.pause()
        }
        if (bytes >= length) resolve({ ...head, bytes })
      }
      const lines = Object.entries({ host: `${host}:${port}`, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
      this.#socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`)
    })
  }
}

function parseHead(text: string): { status: number; headers: Record<string, string> } {
  const [first = '', ...lines] = text.split('\r\n')
  const fields = lines.map((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
  })
  return { status: Number(first.split(' ')[1]), headers: Object.fromEntries(fields) }
}
