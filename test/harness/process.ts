import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const STOP_MS = 10_000
const TAIL_CHARS = 4_000
const POLL_MS = 50

export interface ProcessOptions {
  readonly log: string
  readonly env?: Readonly<Record<string, string>>
}

/** What became of a process: its exit code, or the signal that ended it. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

const running = new Set<RunningProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** A program that was started, in a process group of its own, with its output in a log file. */
export class RunningProcess implements AsyncDisposable {
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly logFile: string
  readonly #name: string
  readonly #child: ChildProcess

  constructor(command: string, args: readonly string[], options: ProcessOptions) {
    const log = openSync(options.log, 'a')
    this.#child = spawn(command, args, {
      stdio: ['ignore', log, log],
      detached: true,
      env: { ...process.env, ...options.env }
    })
    closeSync(log)
    this.pid = this.#child.pid ?? Number.NaN
    this.logFile = options.log
    this.#name = command
    this.exited = once(this.#child, 'exit').then(([code, signal]) => {
      running.delete(this)
      return { code, signal }
    })
    // A failure to start is reported by whoever waits for the exit.
    this.exited.catch(() => running.delete(this))
    running.add(this)
  }

  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Everything the program wrote so far. */
  log(): string {
    return readFileSync(this.logFile, 'utf8')
  }

  /** Sends a signal to the program alone, as a service manager does to the main process. */
  signal(signal: NodeJS.Signals): void {
    if (this.alive) process.kill(this.pid, signal)
  }

  /** Sends a signal to the program and to everything it started. */
  kill(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.pid, signal)
    } catch {
      // The group has ended.
    }
  }

  /** Kills the program with its children at once, as a crash of the host would. */
  async crash(): Promise<void> {
    this.kill('SIGKILL')
    await this.exited
  }

  /** Asks the program to end; one that does not within ten seconds is killed. */
  async stop(): Promise<Exit> {
    this.signal('SIGTERM')
    const kill = setTimeout(() => this.kill('SIGKILL'), STOP_MS)
    try {
      return await this.exited
    } finally {
      clearTimeout(kill)
      this.kill('SIGKILL')
    }
  }

  /**
   * Waits until `probe` holds, asking again every 50 ms.
   * Throws with the end of the log when the program ends first or the time is up.
   */
  async ready(probe: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<this> {
    const ended = await waitUntil(async () => !this.alive || (await probe()), timeoutMs)
    if (!ended) throw new Error(`${this.#name} was not ready within ${timeoutMs} ms:\n${this.#tail()}`)
    if (!this.alive) throw new Error(`${this.#name} ended before it was ready:\n${this.#tail()}`)
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #tail(): string {
    return this.log().slice(-TAIL_CHARS)
  }
}

/** Asks `probe` every 50 ms, until it holds or the time is up; says which. A probe that throws does not hold. */
export async function waitUntil(probe: () => boolean | Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    try {
      if (await probe()) return true
    } catch {
      // Not yet.
    }
    if (performance.now() > deadline) return false
    await sleep(POLL_MS)
  }
}
