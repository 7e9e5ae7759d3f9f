import { relative } from 'node:path'
import type { TestEvent } from 'node:test/reporters'
import { inspect } from 'node:util'

interface FileState {
  passed: number
  skipped: number
  failures: string[]
  notes: string[]
  /** What the file printed: of interest if it fails. */
  output: string
  /** Names of the suites that the test at hand is in. */
  readonly path: string[]
}

/** Where an event comes from. */
interface Origin {
  /** The file that the test stands in. */
  readonly file?: string | undefined
  /** The file that was run, which may have the test from another; unknown to older versions of Node. */
  readonly entryFile?: string | undefined
}

/** What the events of tests that ended have in common. */
interface EndedTest extends Origin {
  readonly name: string
  readonly nesting: number
  readonly line?: number | undefined
  readonly skip?: string | boolean | undefined
  readonly todo?: string | boolean | undefined
}

const MAX_OUTPUT = 8_000

/** Prints a line per test file, its measured figures, and of what failed the error; counts. */
export class TestReport {
  passed = 0
  failed = 0
  /** Tests that were not run, or whose failure would not count, by place, name, and the reason that they give. */
  readonly skipped: string[] = []
  readonly #root: string
  readonly #files = new Map<string, FileState>()
  readonly #failures: string[] = []

  /** Paths are printed relative to `root`. */
  constructor(root: string) {
    this.#root = root
  }

  take(event: TestEvent): void {
    switch (event.type) {
      case 'test:start':
        this.#state(event.data).path[event.data.nesting] = event.data.name
        break
      case 'test:pass':
        if (isLeftOut(event.data)) this.#skip(event.data)
        else if (event.data.details.type !== 'suite') this.#state(event.data).passed += 1
        break
      case 'test:fail':
        if (isLeftOut(event.data)) this.#skip(event.data)
        else this.#fail(event.data)
        break
      case 'test:diagnostic':
        if (event.data.nesting > 0 || !isCount(event.data.message)) this.#state(event.data).notes.push(event.data.message)
        break
      case 'test:stdout':
      case 'test:stderr': {
        const state = this.#state(event.data)
        state.output = (state.output + event.data.message).slice(-MAX_OUTPUT)
        break
      }
      case 'test:summary':
        if (event.data.file !== undefined) this.#closeFile(event.data.file, event.data.duration_ms)
        break
    }
  }

  /** Prints what is still open: files that ended without a summary, as one does that cannot be loaded. */
  closeFiles(): void {
    for (const file of [...this.#files.keys()]) this.#closeFile(file, undefined)
  }

  /** Prints all failures again, for whoever looks at the end first, and the sum. `others` are failures beside tests. */
  finish(others: number): void {
    if (this.#failures.length > 0) process.stdout.write(`\nfailed:\n${this.#failures.map((failure) => `  ${failure}\n`).join('')}`)
    process.stdout.write(`\n${this.passed} passed, ${this.failed + others} failed\n`)
  }

  #skip(test: EndedTest): void {
    this.#state(test).skipped += 1
    const reason = [test.skip, test.todo].find((said) => typeof said === 'string' && said !== '')
    this.skipped.push(`${this.#nameOf(test)}${reason === undefined ? '' : `: ${reason}`}`)
  }

  /** Where a test stands, and its name with those of the suites that it is in. */
  #nameOf(test: EndedTest): string {
    const place = test.file === undefined ? '' : `${relative(this.#root, test.file)}:${test.line ?? 1}`
    return `${place} ${[...this.#state(test).path.slice(0, test.nesting), test.name].join(' > ')}`
  }

  #fail(test: EndedTest & { readonly details: { readonly error: Error; readonly type?: string | undefined } }): void {
    const { error } = test.details
    // A suite fails because a test in it does, which is told already.
    if (test.details.type === 'suite' && 'failureType' in error && error.failureType === 'subtestsFailed') return
    const state = this.#state(test)
    // A file that fails outside of its tests is reported as a test by the file's own path.
    const name = this.#nameOf(test.name === test.file ? { ...test, name: 'outside of its tests' } : test)
    this.#failures.push(name)
    const cause = error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : inspect(error.cause ?? error)
    state.failures.push(`✖ ${name}\n${shorten(cause)}`)
  }

  #state({ file = '', entryFile = file }: Origin): FileState {
    const known = this.#files.get(entryFile)
    if (known !== undefined) return known
    const state: FileState = { passed: 0, skipped: 0, failures: [], notes: [], output: '', path: [] }
    this.#files.set(entryFile, state)
    return state
  }

  #closeFile(file: string, durationMs: number | undefined): void {
    const state = this.#state({ file })
    this.#files.delete(file)
    const failed = state.failures.length
    if (state.passed + state.skipped + failed === 0) return
    this.passed += state.passed
    this.failed += failed
    const seconds = durationMs === undefined ? '' : `  ${(durationMs / 1000).toFixed(1)} s`
    const counts = [`${state.passed} passed`]
    if (failed > 0) counts.push(`${failed} failed`)
    if (state.skipped > 0) counts.push(`${state.skipped} skipped`)
    process.stdout.write(`${failed === 0 ? '✔' : '✖'} ${relative(this.#root, file)}  ${counts.join(', ')}${seconds}\n`)
    for (const note of state.notes) process.stdout.write(`    ${note}\n`)
    for (const failure of state.failures) process.stdout.write(`${indent(failure)}\n`)
    if (failed > 0 && state.output !== '') process.stdout.write(`${indent(`it printed:\n${state.output}`)}\n`)
  }
}

/** A reason may be empty. */
function isLeftOut({ skip = false, todo = false }: EndedTest): boolean {
  return skip !== false || todo !== false
}

/** Node's own totals, which come once per file as diagnostics of their own. */
function isCount(message: string): boolean {
  return /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) \d/.test(message)
}

/** Without the lines that lead through Node itself, the same in every stack. */
function shorten(stack: string): string {
  return stack.replaceAll(/\n +at .*\(?node:internal\/.*/g, '')
}

function indent(text: string): string {
  return text.trimEnd().replaceAll(/^/gm, '    ')
}
