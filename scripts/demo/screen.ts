import { MultiBar } from 'cli-progress'
import { formatBytes } from '../../packages/cli/src/format.ts'

/** Bytes of a pull by where the host got them. */
interface Received {
  readonly peer: number
  readonly registry: number
  /** Already on its disk. */
  readonly local: number
}

export interface Row {
  readonly host: string
  readonly image: string
  readonly seconds: number
  readonly received: Received
}

export interface HostProgress {
  add(bytes: number): void
  done(seconds: number): void
}

/** A line per host: bars on a terminal, one plain line when a host is done elsewhere. */
export class Progress implements Disposable {
  readonly #total: number
  readonly #bars: MultiBar | undefined

  constructor(total: number) {
    this.#total = total
    if (process.stdout.isTTY) {
      this.#bars = new MultiBar({
        stream: process.stdout,
        hideCursor: true,
        fps: 10,
        barsize: 36,
        barCompleteChar: '#',
        barIncompleteChar: '-',
        format: '  {host} [{bar}] {percentage} % {note}'
      })
    }
  }

  host(host: string): HostProgress {
    const bar = this.#bars?.create(this.#total, 0, { host, note: '' })
    let bytes = 0
    return {
      add: (count) => {
        bytes += count
        bar?.update(Math.min(bytes, this.#total), { note: formatBytes(bytes) })
      },
      done: (seconds) => {
        if (bar === undefined) say(`  ${host} has all of it after ${seconds.toFixed(1)} s`)
        else bar.update(this.#total, { note: `in ${seconds.toFixed(1)} s` })
      }
    }
  }

  [Symbol.dispose](): void {
    this.#bars?.stop()
  }
}

export function say(text = ''): void {
  process.stdout.write(`${text}\n`)
}

/** What each host got from where, and the fleet in sum. */
export function table(rows: readonly Row[]): string {
  const sum = total(rows)
  const lines = [
    ['host', 'image', 'seconds', 'from peers', 'from registry', 'on disk'],
    ...rows.map(({ host, image, seconds, received }) => [host, image, seconds.toFixed(1), ...figures(received)]),
    ['fleet', '', '', ...figures(sum)]
  ]
  const widths = [8, 14, 9, 13, 15, 11]
  const format = (cells: readonly string[]) =>
    cells.map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('')
  const rule = '-'.repeat(widths.reduce((all, width) => all + width, 0))
  const [head = [], ...body] = lines
  return [format(head), rule, ...body.slice(0, -1).map(format), rule, ...body.slice(-1).map(format)].map((line) => `  ${line}`).join('\n')
}

function figures({ peer, registry, local }: Received): string[] {
  return [peer, registry, local].map(formatBytes)
}

export function total(rows: readonly Row[]): Received {
  return rows.reduce(
    (sum, { received }) => ({
      peer: sum.peer + received.peer,
      registry: sum.registry + received.registry,
      local: sum.local + received.local
    }),
    { peer: 0, registry: 0, local: 0 }
  )
}
