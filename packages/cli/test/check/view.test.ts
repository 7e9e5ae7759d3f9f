import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import type { Digest } from '@layerswarm/core/digest.ts'
import { type CheckProgress, checkView } from '../../src/check/view.ts'

const DIGEST = `sha256:${'ab'.repeat(32)}` as Digest

class Output extends Writable {
  text = ''
  readonly isTTY: boolean
  readonly columns = 80

  constructor(isTTY: boolean) {
    super()
    this.isTTY = isTTY
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    done()
  }
}

function step(bytes: number, done = false): CheckProgress {
  return { digest: DIGEST, size: 20_000_000_000, bytes, done }
}

test('elsewhere than on a terminal a check that takes long says every ten seconds how far it is', () => {
  const output = new Output(false)
  let now = 0
  using view = checkView(output, () => now)
  for (now = 1000; now <= 25_000; now += 1000) view.step(step(now * 100_000))
  view.step(step(20_000_000_000, true))
  now = 40_000
  view.step(step(5_000_000_000))
  assert.equal(
    output.text,
    [
      'abababababab  5 % of 20.0 GB; done: 0 blobs, 0 B',
      'abababababab  10 % of 20.0 GB; done: 0 blobs, 0 B',
      'abababababab  25 % of 20.0 GB; done: 1 blob, 20.0 GB',
      ''
    ].join('\n')
  )
})

test('on a terminal it is one line, which is taken away in the end', () => {
  const output = new Output(true)
  let now = 0
  {
    using view = checkView(output, () => now)
    for (now = 100; now <= 300; now += 100) view.step(step(now * 10_000_000))
  }
  assert.equal(output.text.split('\n').length, 4)
  assert.ok(output.text.includes('abababababab  15 % of 20.0 GB; done: 0 blobs, 0 B\n'))
  assert.ok(output.text.endsWith('\x1b[1A\x1b[J\x1b[?25h'))
})
