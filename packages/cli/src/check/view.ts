import type { CheckLine } from '@layerswarm/core/api/images-api.ts'
import { formatBytes, plural, shortHex } from '../format.ts'
import { LiveBlock, type Terminal } from '../live-block.ts'

export type CheckProgress = Extract<CheckLine, { progress: unknown }>['progress']

/** Ms between two states of the line on a terminal. */
const DRAW_MS = 100
/** Ms between two lines elsewhere: a short check says nothing, a long one that it is alive. */
const LINE_MS = 10_000

/** Shows how far a check is, on standard error: its result is what goes to standard output. */
export interface CheckView extends Disposable {
  step(progress: CheckProgress): void
}

/** @param now ms on a scale that never goes back */
export function checkView(output: Terminal, now = () => performance.now()): CheckView {
  const block = output.isTTY === true ? new LiveBlock(output) : undefined
  const every = block === undefined ? LINE_MS : DRAW_MS
  const past = { blobs: 0, bytes: 0 }
  let shownAt = now()
  return {
    step: (progress) => {
      if (progress.done) {
        past.blobs++
        past.bytes += progress.size
      }
      if (now() - shownAt < every) return
      shownAt = now()
      const line = progressLine(progress, past)
      if (block === undefined) output.write(`${line}\n`)
      else block.draw([], [line])
    },
    [Symbol.dispose]: () => block?.[Symbol.dispose]()
  }
}

/** For output that a program reads. */
export const silentCheck: CheckView = { step: () => undefined, [Symbol.dispose]: () => undefined }

function progressLine({ digest, size, bytes }: CheckProgress, past: { readonly blobs: number; readonly bytes: number }): string {
  const percent = size === 0 ? 100 : Math.floor((bytes / size) * 100)
  return `${shortHex(digest)}  ${percent} % of ${formatBytes(size)}; done: ${plural(past.blobs, 'blob')}, ${formatBytes(past.bytes)}`
}
