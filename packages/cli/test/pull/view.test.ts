import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { it } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import type { PullProgress } from '@layerswarm/core/api/local-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { pullStep } from '../../src/pull/view.ts'
import { transferView } from '../../src/transfer-view.ts'

function progress(digit: string, peer: number, done = false): PullProgress {
  const digest = `sha256:${digit.repeat(64)}` as Digest
  return { digest, size: 100_000_000, counts: { local: 0, peer, registry: peer / 3 }, done }
}

it('shows a bar per blob on a terminal, which becomes a line once the blob is there', async ({ mock }) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  const terminal = Object.assign(new PassThrough(), { isTTY: true, columns: 80, rows: 24 })
  const written = text(terminal)
  {
    using view = transferView(terminal)
    view.step(pullStep(progress('a', 30_000_000)))
    view.step(pullStep(progress('b', 0)))
    mock.timers.tick(200)
    view.step(pullStep(progress('a', 60_000_000)))
    mock.timers.tick(200)
    view.step(pullStep(progress('a', 75_000_000, true)))
  }
  terminal.end()
  // What moves the cursor is gone, so a bar may follow the one above it on the same line.
  const shown = stripVTControlCharacters(await written)
  for (const expected of [
    'aaaaaaaaaaaa [##########--------------]  40 % of 100.0 MB  75 % from peers',
    'aaaaaaaaaaaa [###################-----]  80 % of 100.0 MB  75 % from peers',
    'bbbbbbbbbbbb [------------------------]   0 % of 100.0 MB',
    'aaaaaaaaaaaa  done      75.0 MB from peers, 25.0 MB from the registry'
  ]) {
    assert.ok(shown.includes(expected), shown)
    assert.ok(expected.length <= 80)
  }
})
