import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Outflow } from '@layerswarm/core/p2p/outflow.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { BLOCKED_AFTER_MS, DEAD_AFTER_MS, type Progress, UploadWatch } from '../../src/peers/upload-watch.ts'

test('an upload whose bytes leave, however slowly, is blocked but not dead; it is dead once they do not', async () => {
  const clock = new ManualClock()
  const stop = new AbortController()
  let connection: Outflow = { waiting: 1_000_000, taken: 0 }
  let aborted = 0
  const stream = {
    abort: () => void aborted++,
    get outflow() {
      return connection
    }
  }
  const upload: Progress = { stream, progressAt: 0, blocked: false, held: false }
  new UploadWatch({ clock, active: new Set([upload]), onLook: () => undefined, signal: stop.signal }).start()
  await clock.advance(BLOCKED_AFTER_MS)
  assert.equal(upload.blocked, true)
  for (let minute = 0; minute < 5; minute++) {
    connection = { waiting: connection.waiting - 100_000, taken: connection.taken + 100_000 }
    await clock.advance(DEAD_AFTER_MS - 1000)
    assert.equal(aborted, 0)
  }
  await clock.advance(1100)
  assert.ok(aborted > 0)
  stop.abort()
})

test('bytes that find room in a buffer are nobody’s progress', async () => {
  const clock = new ManualClock()
  const stop = new AbortController()
  let aborted = 0
  const stream = {
    abort: () => void aborted++,
    get outflow() {
      return { waiting: 0, taken: clock.now() }
    }
  }
  const upload: Progress = { stream, progressAt: 0, blocked: false, held: false }
  new UploadWatch({ clock, active: new Set([upload]), onLook: () => undefined, signal: stop.signal }).start()
  await clock.advance(DEAD_AFTER_MS)
  assert.ok(aborted > 0)
  stop.abort()
})
