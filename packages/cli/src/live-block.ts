/** The part of Node's terminal streams that is needed. */
export type Terminal = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number }

const HIDE_CURSOR = '\x1b[?25l'
const SHOW_CURSOR = '\x1b[?25h'
const CLEAR_BELOW = '\x1b[J'

/** Lines at the end of a terminal that are drawn again and again, and lines above them that stay. */
export class LiveBlock implements Disposable {
  readonly #terminal: Terminal
  #drawn = 0

  constructor(terminal: Terminal) {
    this.#terminal = terminal
    terminal.write(HIDE_CURSOR)
  }

  /** Lines that fit below one another. */
  get room(): number {
    return Math.max(1, (this.#terminal.rows ?? 24) - 1)
  }

  /**
   * @param above lines that stay
   * @param lines the block from now on; cut to the terminal's width, since a line that wraps cannot be taken back
   */
  draw(above: readonly string[], lines: readonly string[]): void {
    const width = this.#terminal.columns ?? 80
    const shown = lines.slice(0, this.room).map((line) => (line.length <= width ? line : `${line.slice(0, width - 1)}…`))
    this.#terminal.write(`${this.#back()}${[...above, ...shown].map((line) => `${line}\n`).join('')}`)
    this.#drawn = shown.length
  }

  /** Takes the block away. */
  [Symbol.dispose](): void {
    this.#terminal.write(`${this.#back()}${SHOW_CURSOR}`)
    this.#drawn = 0
  }

  #back(): string {
    return this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A${CLEAR_BELOW}`
  }
}
