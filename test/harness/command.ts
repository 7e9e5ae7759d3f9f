import { execFile } from 'node:child_process'

const DEFAULT_TIMEOUT_MS = 120_000
const MAX_OUTPUT = 64 * 1024 * 1024

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly timeoutMs?: number
}

export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end. Resolves whatever its exit code; one that runs out of time is killed and has code -1. */
export function tryCommand(command: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        env: { ...process.env, ...options.env },
        cwd: options.cwd,
        timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        killSignal: 'SIGKILL',
        maxBuffer: MAX_OUTPUT
      },
      (error, stdout, stderr) => {
        if (error !== null && child.pid === undefined) reject(error)
        else resolve({ code: error === null ? 0 : (child.exitCode ?? -1), stdout, stderr })
      }
    )
  })
}

/** Runs a program that must succeed; throws with its output otherwise. Returns what it printed. */
export async function command(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await tryCommand(program, args, options)
  if (result.code !== 0) {
    throw new Error(`${program} ${args.join(' ')} ended with ${result.code}:\n${result.stdout}\n${result.stderr}`)
  }
  return result.stdout
}
