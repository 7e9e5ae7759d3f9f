import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

export const LAUNCHER = fileURLToPath(new URL('../bin/layerswarm.js', import.meta.url))

export interface Finished {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

interface RunOptions {
  readonly node?: string
  readonly launcher?: string
  readonly env?: Readonly<Record<string, string>>
}

/** What a command needs of the environment, and nothing of this machine's LAYERSWARM_ variables. */
function cleanEnv(extra: RunOptions['env']): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: tmpdir(), ...extra }
}

/** Starts the command as a shell would. Its standard output and error are pipes. */
export function startCommand(args: readonly string[], options: RunOptions = {}): ChildProcess {
  const { node = process.execPath, launcher = LAUNCHER, env } = options
  return spawn(node, [launcher, ...args], { env: cleanEnv(env), stdio: ['ignore', 'pipe', 'pipe'], cwd: tmpdir() })
}

export async function runCommand(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return finished(startCommand(args, options))
}

export async function finished(child: ChildProcess): Promise<Finished> {
  if (child.stdout === null || child.stderr === null) throw new Error('no pipes')
  const [stdout, stderr, [code, signal]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code, signal, stdout, stderr }
}
