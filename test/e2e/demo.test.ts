import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { tryCommand } from '../harness/command.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

test('npm run demo shows the main job and leaves no process behind', { timeout: 180_000 }, async (t) => {
  const mark = randomUUID()
  const result = await tryCommand('npm', ['run', 'demo'], { cwd: ROOT, env: { TEST_RUN_MARK: mark }, timeoutMs: 170_000 })
  assert.equal(result.code, 0, result.stdout + result.stderr)
  const copies = /registry copies (\d+\.\d\d)/.exec(result.stdout)?.[1]
  assert.ok(copies !== undefined, result.stdout)
  t.diagnostic(`registry copies ${copies}`)
  assert.ok(Number(copies) <= 1.05)
  assert.deepEqual(processesMarked(mark), [])
})

/** The processes, wherever they hang now, that were started with this in their environment. */
function processesMarked(mark: string): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark)
    } catch {
      return false
    }
  })
}
