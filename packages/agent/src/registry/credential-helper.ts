import { type ChildProcess, spawn } from 'node:child_process'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Credential } from './credentials.ts'

/** What docker's helpers print, with exit code 1, for a registry that they do not know. */
const NOT_FOUND = 'credentials not found in native keychain'
/** User name under which helpers give an identity token. */
const IDENTITY_USER = '<token>'
/** Longest reply that is read; a token of a cloud is some KiB. */
const MAX_REPLY_BYTES = 256 * 1024

export interface HelperOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Kills the helper. */
  readonly signal: AbortSignal
}

/**
 * Asks a credential helper (docker-credential-helpers' protocol): `docker-credential-NAME get`, without a shell. Nothing
 * that it prints is told to anybody.
 * @param server what to ask for
 * @returns undefined when it has nothing for this registry
 * @throws {LayerswarmError} REGISTRY_DENIED when it fails; the signal's reason
 */
export async function askHelper(name: string, server: string, { env, signal }: HelperOptions): Promise<Credential | undefined> {
  if (!/^[A-Za-z0-9._-]+$/.test(name)) throw failed('a credential helper has a name that is not allowed')
  const program = `docker-credential-${name}`
  const { code, output } = await run(program, server, env, signal)
  if (code !== 0) {
    if (output.includes(NOT_FOUND)) return undefined
    throw failed(`${program} failed (${code === null ? 'killed' : `exit code ${code}`})`)
  }
  let reply: { Username?: unknown; Secret?: unknown } | null
  try {
    reply = JSON.parse(output)
  } catch {
    throw failed(`${program} did not answer with JSON`)
  }
  const { Username: username, Secret: secret } = reply ?? {}
  if (typeof username !== 'string' || typeof secret !== 'string') throw failed(`${program} gave no user name and secret`)
  if (secret === '') return undefined
  return username === IDENTITY_USER ? { kind: 'identity', token: secret } : { kind: 'password', username, password: secret }
}

/** Runs to the end of the program, not of what it may have started. */
async function run(
  program: string,
  input: string,
  env: HelperOptions['env'],
  signal: AbortSignal
): Promise<{ readonly code: number | null; readonly output: string }> {
  signal.throwIfAborted()
  const child = spawn(program, ['get'], { env: { ...env }, stdio: ['pipe', 'pipe', 'ignore'], shell: false })
  const kill = () => {
    child.kill('SIGKILL')
    // What it started may hold the pipe open.
    child.stdout.destroy()
  }
  signal.addEventListener('abort', kill, { once: true })
  try {
    const output = replyOf(child, program)
    // One that ends without reading is no failure by itself.
    child.stdin.on('error', () => undefined).end(input)
    const code = await ended(child, program)
    signal.throwIfAborted()
    return { code, output: await output() }
  } finally {
    signal.removeEventListener('abort', kill)
    child.stdout.destroy()
    child.stdin.destroy()
  }
}

function replyOf({ stdout }: { readonly stdout: NodeJS.ReadableStream }, program: string): () => Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  stdout.on('data', (chunk: Buffer) => {
    size += chunk.byteLength
    if (size <= MAX_REPLY_BYTES) chunks.push(chunk)
  })
  stdout.once('close', resolve)
  return async () => {
    await promise
    if (size > MAX_REPLY_BYTES) throw failed(`${program} printed more than ${MAX_REPLY_BYTES} bytes`)
    return Buffer.concat(chunks).toString()
  }
}

async function ended(child: ChildProcess, program: string): Promise<number | null> {
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.once('exit', (code) => resolve(code))
  child.once('error', (error) => {
    const code = 'code' in error ? String(error.code) : 'not started'
    reject(failed(code === 'ENOENT' ? `${program} is not installed` : `${program} cannot be run (${code})`))
  })
  return await promise
}

function failed(detail: string): LayerswarmError {
  return new LayerswarmError('REGISTRY_DENIED', { detail })
}
