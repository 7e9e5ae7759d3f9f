import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startOf } from '../../src/runtime/processes.ts'

test('a file that was written within the tick in which a process began is not newer than it', () => {
  const boot = Date.UTC(2026, 0, 1)
  const written = boot + 10_003
  const began = boot + 10_008
  const startedAt = startOf(Math.floor((began - boot) / 10), 20.5, boot + 20_500)
  assert.ok(startedAt >= began && written <= startedAt, `${startedAt - boot} ms`)
  assert.ok(startedAt <= began + 10)
})
