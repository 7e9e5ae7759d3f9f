/**
 * `npm test`: unit, simulation, integration and end-to-end suites, one after the other. `npm test -- unit`, `sim`,
 * `integration`, `e2e`, or any part of a file's path, runs those alone. A suite says in its first line what it needs beside Node
 * (`// needs: root ip containerd`); where that is missing it is left out by name, and in CI that is a failure. So is a
 * test that is skipped.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, globSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run } from 'node:test'
import { fileURLToPath } from 'node:url'
import { NEW_CLIENTS_LIST } from '../test/harness/clients.ts'
import { TestReport } from './test-report.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const INSTALL = 'sudo scripts/install-test-deps.sh'
const INSTALL_NEW_CLIENTS = 'sudo scripts/install-new-clients.sh'
/** What a suite needs that runs the clients of {@link INSTALL_NEW_CLIENTS}. */
const NEW_CLIENTS = 'new-clients'
/** Debian keeps servers and network tools where the path of other users does not lead. */
const PATH = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']

interface Kind {
  readonly name: string
  readonly files: string
  /** Test files at a time. End-to-end suites measure time, and share two cores with what they start. */
  readonly concurrency: number
  /** The most one file may take, ms. */
  readonly timeout: number
}

const KINDS: readonly Kind[] = [
  { name: 'unit', files: 'packages/*/test/**/*.test.ts', concurrency: 2, timeout: 120_000 },
  { name: 'sim', files: 'test/sim/**/*.test.ts', concurrency: 1, timeout: 300_000 },
  { name: 'integration', files: 'test/integration/**/*.test.ts', concurrency: 1, timeout: 300_000 },
  { name: 'e2e', files: 'test/e2e/**/*.test.ts', concurrency: 1, timeout: 600_000 }
]

interface LeftOut {
  readonly file: string
  readonly missing: readonly string[]
}

async function main(wanted: readonly string[]): Promise<number> {
  const report = new TestReport(ROOT)
  const leftOut: LeftOut[] = []
  for (const kind of KINDS) {
    const files = globSync(kind.files, { cwd: ROOT })
      .sort()
      .filter((file) => wanted.length === 0 || wanted.some((part) => part === kind.name || file.includes(part)))
    const runnable: string[] = []
    for (const file of files) {
      const missing = missingFor(file)
      if (missing.length === 0) runnable.push(file)
      else leftOut.push({ file, missing })
    }
    if (runnable.length > 0) await runKind(kind, runnable, report)
  }
  if (report.passed + report.failed + report.skipped.length + leftOut.length === 0) {
    process.stdout.write(`no test file matches ${wanted.join(' ')}\n`)
    return 2
  }
  const complaints = tellSkipped(report.skipped) + tellLeftOut(leftOut)
  report.finish(complaints)
  return report.failed + complaints === 0 ? 0 : 1
}

async function runKind(kind: Kind, files: readonly string[], report: TestReport): Promise<void> {
  process.stdout.write(`\n${kind.name}\n`)
  const events = run({ files: files.map((file) => join(ROOT, file)), concurrency: kind.concurrency, timeout: kind.timeout, cwd: ROOT })
  for await (const event of events) report.take(event)
  report.closeFiles()
}

/** Names the tests that were skipped. @returns how many of them count as failures: all in CI, none elsewhere. */
function tellSkipped(skipped: readonly string[]): number {
  if (skipped.length === 0) return 0
  process.stdout.write(`\nskipped:\n${skipped.map((name) => `  ${name}\n`).join('')}`)
  if (process.env.CI !== 'true') return 0
  process.stdout.write('With CI=true nothing may be skipped.\n')
  return skipped.length
}

/** Names the suites that were not run. @returns how many of them count as failures: all in CI, none elsewhere. */
function tellLeftOut(leftOut: readonly LeftOut[]): number {
  if (leftOut.length === 0) return 0
  process.stdout.write('\nleft out:\n')
  for (const { file, missing } of leftOut) process.stdout.write(`  ${file}: needs ${missing.join(', ')}\n`)
  const install = leftOut.some(({ missing }) => missing.includes(NEW_CLIENTS)) ? `${INSTALL} && ${INSTALL_NEW_CLIENTS}` : INSTALL
  process.stdout.write(`Install what they need with: ${install}; then run them as root.\n`)
  if (process.env.CI !== 'true') return 0
  process.stdout.write('With CI=true nothing may be left out.\n')
  return leftOut.length
}

function missingFor(file: string): string[] {
  const needs = /^\/\/ needs: (.+)$/m.exec(readFileSync(join(ROOT, file), 'utf8'))?.[1]
  return (needs?.split(' ') ?? []).filter((need) => {
    if (need === 'root') return !canMakeNamespaces()
    return need === NEW_CLIENTS ? !existsSync(NEW_CLIENTS_LIST) : !isInstalled(need)
  })
}

let namespaces: boolean | undefined

/** Being root is not enough in a container without the right to make network namespaces. */
function canMakeNamespaces(): boolean {
  namespaces ??= process.getuid?.() === 0 && spawnSync('unshare', ['--net', '--mount', 'true']).status === 0
  return namespaces
}

function isInstalled(program: string): boolean {
  return PATH.some((dir) => {
    try {
      accessSync(join(dir, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

process.env.PATH = PATH.join(delimiter)
process.exitCode = await main(process.argv.slice(2))
