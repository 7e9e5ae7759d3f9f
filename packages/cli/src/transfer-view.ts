import type { Digest } from '@layerswarm/core/digest.ts'
import { MultiBar, type Options, type Params, type SingleBar } from 'cli-progress'
import { formatBytes, shortHex } from './format.ts'

/** A blob on its way. */
export interface Step {
  readonly digest: Digest
  readonly size: number
  /** Bytes that have moved. */
  readonly bytes: number
  readonly done: boolean
  /** What became of it, once it is done. */
  readonly outcome: string
  /** What to say beside its bar. */
  readonly note: string
  /** What is done to its bytes before they move, as in `hashed`. */
  readonly phase?: string
}

/** Shows blobs while they move. Closing it gives the terminal back. */
export interface TransferView extends Disposable {
  step(step: Step): void
}

type Output = NodeJS.WritableStream & { readonly isTTY?: boolean }

/** Bars on a terminal, plain lines elsewhere. */
export function transferView(output: Output): TransferView {
  return output.isTTY === true ? new BarView(output) : new LineView(output)
}

/** For output that a program reads: nothing but the result. */
export const silentTransfers: TransferView = { step: () => undefined, [Symbol.dispose]: () => undefined }

function doneLine({ digest, size, outcome }: Step): string {
  return `${shortHex(digest)}  done      ${outcome || formatBytes(size)}\n`
}

/** A line when a blob has arrived, and one per quarter of it before that. */
class LineView implements TransferView {
  readonly #output: Output
  /** Of each blob and phase. */
  readonly #quarters = new Map<string, number>()

  constructor(output: Output) {
    this.#output = output
  }

  step(step: Step): void {
    const { digest, size, bytes, phase = '' } = step
    if (step.done) {
      this.#output.write(doneLine(step))
      return
    }
    const quarter = size === 0 ? 0 : Math.floor((bytes / size) * 4)
    const key = `${digest} ${phase}`
    if (quarter === 0 || quarter === 4 || quarter <= (this.#quarters.get(key) ?? 0)) return
    this.#quarters.set(key, quarter)
    this.#output.write(`${shortHex(digest)}  ${quarter * 25} %      ${formatBytes(bytes)} of ${formatBytes(size)}${phase && ` ${phase}`}\n`)
  }

  [Symbol.dispose](): void {}
}

/** 12 digits, 24 of bar and the figures stay within 80 columns. */
const BAR_OPTIONS: Options = {
  hideCursor: true,
  clearOnComplete: true,
  fps: 10,
  barsize: 24,
  format: (options, params, payload: { step: Step }) => formatBar(options, params, payload.step)
}

function formatBar({ barsize = 24 }: Options, { progress }: Params, { digest, size, note }: Step): string {
  const filled = Math.round(progress * barsize)
  const bar = '#'.repeat(filled) + '-'.repeat(barsize - filled)
  const percent = `${Math.floor(progress * 100)}`.padStart(3)
  return `${shortHex(digest)} [${bar}] ${percent} % of ${formatBytes(size)}${note === '' ? '' : `  ${note}`}`
}

/** A bar per blob that is on its way; one that has arrived becomes a line above, so that bars never outgrow the screen. */
class BarView implements TransferView {
  readonly #bars: MultiBar
  readonly #byBlob = new Map<Digest, SingleBar>()

  constructor(output: Output) {
    this.#bars = new MultiBar({ ...BAR_OPTIONS, stream: output })
  }

  step(step: Step): void {
    const bar = this.#byBlob.get(step.digest)
    if (step.done) {
      if (bar !== undefined) this.#bars.remove(bar)
      this.#byBlob.delete(step.digest)
      this.#bars.log(doneLine(step))
      this.#bars.update()
    } else if (bar === undefined) this.#byBlob.set(step.digest, this.#bars.create(step.size, step.bytes, { step }))
    else bar.update(step.bytes, { step })
  }

  [Symbol.dispose](): void {
    this.#bars.stop()
  }
}
