import type { SeedDetail, SeedTarget } from '@layerswarm/core/api/seed-api.ts'
import { formatBytes } from '../format.ts'
import { LiveBlock, type Terminal } from '../live-block.ts'
import { arrived, fleetText, printable, targetText } from './text.ts'

/** Shows a seed while it goes. Closing it gives the terminal back. */
export interface SeedView extends Disposable {
  show(seed: SeedDetail): void
  /** Says something that is not of the seed, where it does not get in the way. */
  note(text: string): void
}

/** A line per host that moves on a terminal, plain lines elsewhere. */
export function seedView(output: Terminal): SeedView {
  return output.isTTY === true ? new LiveView(output) : new LineView(output)
}

/** For output that a program reads: nothing but the result. */
export const silentSeed: SeedView = { show: () => undefined, note: tellAside, [Symbol.dispose]: () => undefined }

function tellAside(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** The widest name that leaves room for the bar and what stands beside it, within 80 columns. */
const MAX_NAME = 16
const BAR_WIDTH = 24

/** Names padded to one width; those that are too long lose their beginning, which says less than their end. */
function nameColumn(targets: readonly SeedTarget[], most: number): (name: string) => string {
  const widest = targets.reduce((width, { name }) => Math.max(width, name.length), 'fleet'.length)
  const width = Math.min(widest, most)
  return (name) => {
    const text = printable(name)
    return (text.length <= width ? text : `…${text.slice(text.length - width + 1)}`).padEnd(width)
  }
}

function hasEnded({ state }: SeedTarget): boolean {
  return state === 'done' || state === 'here' || state === 'failed' || state === 'cancelled'
}

/** What is new of hosts' ends. */
class Ends {
  readonly #told = new Map<number, string>()

  /** Those that have come to an end since the last call; one that was given up and is back may do so again. */
  next(targets: readonly SeedTarget[]): SeedTarget[] {
    return targets.filter((target) => {
      const before = this.#told.get(target.number)
      if (hasEnded(target)) this.#told.set(target.number, target.state)
      else this.#told.delete(target.number)
      return hasEnded(target) && before !== target.state
    })
  }
}

/** A line when a host has come to its end, or is waited for, and one per quarter of the whole. */
class LineView implements SeedView {
  readonly #output: NodeJS.WritableStream
  readonly #ends = new Ends()
  readonly #waiting = new Set<number>()
  #quarter = 0

  constructor(output: NodeJS.WritableStream) {
    this.#output = output
  }

  show(seed: SeedDetail): void {
    const name = nameColumn(seed.targets, Number.POSITIVE_INFINITY)
    const waited = seed.targets.filter(({ number, state }) => state === 'waiting' && !this.#waiting.has(number))
    this.#waiting.clear()
    for (const { number, state } of seed.targets) if (state === 'waiting') this.#waiting.add(number)
    for (const target of [...waited, ...this.#ends.next(seed.targets)]) this.#output.write(`${name(target.name)}  ${targetText(target)}\n`)
    const quarter = seed.size === 0 ? 0 : Math.floor((arrived(seed) / seed.size) * 4)
    if (quarter <= this.#quarter || quarter >= 4 || seed.state !== 'running') return
    this.#quarter = quarter
    this.#output.write(`${name('fleet')}  ${fleetText(seed)}\n`)
  }

  note(text: string): void {
    tellAside(text)
  }

  [Symbol.dispose](): void {}
}

/** Hosts under way below, as far as there is room; those that have come to their end become lines above. */
class LiveView implements SeedView {
  readonly #block: LiveBlock
  readonly #ends = new Ends()
  #before: { readonly bytes: number; readonly at: number } | undefined
  #rate: number | undefined
  #lines: readonly string[] = []

  constructor(output: Terminal) {
    this.#block = new LiveBlock(output)
  }

  show(seed: SeedDetail): void {
    const name = nameColumn(seed.targets, MAX_NAME)
    const ended = this.#ends.next(seed.targets).map((target) => `${name(target.name)}  ${targetText(target)}`)
    const open = seed.targets.filter((target) => !hasEnded(target))
    const room = Math.max(0, this.#block.room - 2)
    const lines = furthest(open, room).map((target) => `${name(target.name)}  ${barOf(target)}`)
    if (open.length > room) lines.push(`${' '.repeat(name('').length)}  and ${open.length - room} more`)
    this.#measure(seed)
    this.#lines = [...lines, `${name('fleet')}  ${fleetText(seed, this.#rate)}`]
    this.#block.draw(ended, this.#lines)
  }

  note(text: string): void {
    this.#block.draw([text], this.#lines)
  }

  [Symbol.dispose](): void {
    this.#block[Symbol.dispose]()
  }

  /** Over two seconds or so, so that the figure can be read. */
  #measure(seed: SeedDetail): void {
    const now = performance.now()
    const bytes = seed.counts.peer + seed.counts.registry
    if (this.#before === undefined) this.#before = { bytes, at: now }
    const seconds = (now - this.#before.at) / 1000
    if (seconds < 2) return
    this.#rate = Math.max(0, (bytes - this.#before.bytes) / seconds)
    this.#before = { bytes, at: now }
  }
}

/** As many as there is room for, in their own order: lines that change places cannot be read. */
function furthest(targets: readonly SeedTarget[], room: number): readonly SeedTarget[] {
  if (targets.length <= room) return targets
  const first = [...targets].sort((a, b) => share(b) - share(a)).slice(0, room)
  return first.sort((a, b) => a.number - b.number)
}

function share(target: SeedTarget): number {
  return target.size === 0 ? 0 : arrived(target) / target.size
}

function barOf(target: SeedTarget): string {
  if (target.state !== 'fetching' || target.size === 0) return targetText(target)
  const filled = Math.round(Math.min(1, share(target)) * BAR_WIDTH)
  const bar = '#'.repeat(filled) + '-'.repeat(BAR_WIDTH - filled)
  const bytes = arrived(target)
  const peers = bytes === 0 ? '' : `  ${Math.round((target.counts.peer / bytes) * 100)} % from peers`
  return `[${bar}] ${`${Math.floor(share(target) * 100)}`.padStart(3)} % of ${formatBytes(target.size)}${peers}`
}
