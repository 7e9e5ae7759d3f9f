import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

/** Runs what `npm test` runs a file with, in a process of its own: Node runs no tests within tests. */
const RUN = `
  import { run } from 'node:test'
  const { TestReport } = await import(process.argv[1])
  const report = new TestReport(process.argv[2])
  for await (const event of run({ files: [process.argv[3]], cwd: process.argv[2] })) report.take(event)
  report.closeFiles()
  report.finish(0)
  console.log(JSON.stringify(report.skipped))
`

const TESTS = `
  import { describe, test } from 'node:test'
  test('runs', () => undefined)
  test('is not for this machine', { skip: 'no disk' }, () => undefined)
  test.skip('is not for anybody', () => undefined)
  test.todo('is to be mended', () => { throw new Error('not yet') })
  describe('a suite', () => {
    test('finds out that it cannot run', (context) => context.skip('no network'))
    test('runs as well', () => undefined)
  })
  describe.skip('another suite', () => { test('never runs', () => undefined) })
`

test('tests that are skipped are told by name and not counted as passed', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'layerswarm-report-'))
  try {
    const file = join(dir, 'some.test.js')
    await writeFile(join(dir, 'package.json'), '{"type":"module"}')
    await writeFile(file, TESTS)
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const report = new URL('../../scripts/test-report.ts', import.meta.url).href
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', RUN, report, dir, file], { env })
    const lines = stdout.trimEnd().split('\n')
    assert.deepEqual(JSON.parse(lines.pop() ?? ''), [
      'some.test.js:4 is not for this machine: no disk',
      'some.test.js:5 is not for anybody',
      'some.test.js:6 is to be mended',
      'some.test.js:8 a suite > finds out that it cannot run: no network',
      'some.test.js:11 another suite'
    ])
    assert.equal(lines.pop(), '2 passed, 0 failed')
    assert.match(lines[0] ?? '', /^✔ some\.test\.js {2}2 passed, 5 skipped/)
  } finally {
    await rm(dir, { recursive: true })
  }
})
