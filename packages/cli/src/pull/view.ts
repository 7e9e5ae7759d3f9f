import type { PullProgress, PullSummary } from '@layerswarm/core/api/local-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { MultiBar, type Options, type Params, type SingleBar } from 'cli-progress'
import { formatBytes, shortHex } from '../format.ts'

/** Shows a pull while it runs. Closing it gives the terminal back. */
export interface PullView extends Disposable {
  progress(blob: PullProgress): void
}

type Output = NodeJS.WritableStream & { readonly isTTY?: boolean }

/** Bars on a terminal, plain lines elsewhere. */
export function pullView(output: Output): PullView {
  return output.isTTY === true ? new BarView(output) : new LineView(output)
}

/** For output that a program reads: nothing but the result. */
export const silentView: PullView = { progress: () => undefined, [Symbol.dispose]: () => undefined }

function arrived({ counts }: PullProgress): number {
  return counts.local + counts.peer + counts.registry
}

function sources({ counts }: PullProgress): string {
  const parts = [
    [counts.peer, 'from peers'],
    [counts.registry, 'from the registry'],
    [counts.local, 'already here']
  ] as const
  return parts.flatMap(([bytes, where]) => (bytes > 0 ? [`${formatBytes(bytes)} ${where}`] : [])).join(', ')
}

function doneLine(blob: PullProgress): string {
  return `${shortHex(blob.digest)}  done      ${sources(blob) || formatBytes(blob.size)}\n`
}

/** A line when a blob has arrived, and one per quarter of it before that. */
class LineView implements PullView {
  readonly #output: Output
  readonly #quarters = new Map<Digest, number>()

  constructor(output: Output) {
    this.#output = output
  }

  progress(blob: PullProgress): void {
    if (blob.done) {
      this.#output.write(doneLine(blob))
      return
    }
    const quarter = blob.size === 0 ? 0 : Math.floor((arrived(blob) / blob.size) * 4)
    if (quarter === 0 || quarter === 4 || quarter <= (this.#quarters.get(blob.digest) ?? 0)) return
    this.#quarters.set(blob.digest, quarter)
    this.#output.write(`${shortHex(blob.digest)}  ${quarter * 25} %      ${formatBytes(arrived(blob))} of ${formatBytes(blob.size)}\n`)
  }

  [Symbol.dispose](): void {}
}

/** 12 digits, 24 of bar and the figures stay within 80 columns. */
const BAR_OPTIONS: Options = {
  hideCursor: true,
  clearOnComplete: true,
  fps: 10,
  barsize: 24,
  format: (options, params, payload: { blob: PullProgress }) => formatBar(options, params, payload.blob)
}

function formatBar({ barsize = 24 }: Options, { progress }: Params, blob: PullProgress): string {
  const filled = Math.round(progress * barsize)
  const bar = '#'.repeat(filled) + '-'.repeat(barsize - filled)
  const percent = `${Math.floor(progress * 100)}`.padStart(3)
  const peers = arrived(blob) === 0 ? '' : `  ${Math.round((blob.counts.peer / arrived(blob)) * 100)} % from peers`
  return `${shortHex(blob.digest)} [${bar}] ${percent} % of ${formatBytes(blob.size)}${peers}`
}

/** A bar per blob that is on its way; one that has arrived becomes a line above, so that bars never outgrow the screen. */
class BarView implements PullView {
  readonly #bars: MultiBar
  readonly #byBlob = new Map<Digest, SingleBar>()

  constructor(output: Output) {
    this.#bars = new MultiBar({ ...BAR_OPTIONS, stream: output })
  }

  progress(blob: PullProgress): void {
    const bar = this.#byBlob.get(blob.digest)
    if (blob.done) {
      if (bar !== undefined) this.#bars.remove(bar)
      this.#byBlob.delete(blob.digest)
      this.#bars.log(doneLine(blob))
      this.#bars.update()
    } else if (bar === undefined) this.#byBlob.set(blob.digest, this.#bars.create(blob.size, arrived(blob), { blob }))
    else bar.update(arrived(blob), { blob })
  }

  [Symbol.dispose](): void {
    this.#bars.stop()
  }
}

/** What the pull came to, for people. */
export function summaryText(done: PullSummary): string {
  const { image, digest, manifests, blobs, skipped, bytes, counts, seconds } = done
  const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`
  const left = skipped === 0 ? '' : `\n${plural(skipped, 'layer')} left out: not for distribution, only its author may give it out`
  return (
    `${image}\n${digest}\n` +
    `${plural(manifests, 'manifest')} and ${plural(blobs, 'blob')}, ${formatBytes(bytes)} in ${seconds.toFixed(1)} s: ` +
    `${formatBytes(counts.peer)} from peers,\n` +
    `${formatBytes(counts.registry)} from the registry, ${formatBytes(counts.local)} already here${left}\n`
  )
}
