import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { glob, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from './free-port.ts'

export interface DockerRegistryOptions {
  /** `auth` of its configuration file. */
  readonly auth?: Readonly<Record<string, object>>
}

/** The real registry (Debian's docker-registry) on loopback, its data in a directory of its own. */
export class DockerRegistry implements AsyncDisposable {
  readonly host: string
  readonly #process: ChildProcess
  readonly #dir: string

  private constructor(host: string, process: ChildProcess, dir: string) {
    this.host = host
    this.#process = process
    this.#dir = dir
  }

  /** @throws {Error} when the program is missing or does not start */
  static async start({ auth }: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    const dir = await mkdtemp(join(tmpdir(), 'layerswarm-docker-registry-'))
    const host = `127.0.0.1:${await freePort()}`
    const config = join(dir, 'config.yml')
    await writeFile(
      config,
      JSON.stringify({
        version: '0.1',
        log: { level: 'info', accesslog: { disabled: true } },
        storage: { filesystem: { rootdirectory: join(dir, 'data') } },
        http: { addr: host },
        ...(auth && { auth })
      })
    )
    const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] })
    const registry = new DockerRegistry(host, child, dir)
    try {
      await Promise.race([
        listening(child),
        once(child, 'exit').then(([code]) => Promise.reject(new Error(`docker-registry ended with ${code}`)))
      ])
    } catch (error) {
      await registry[Symbol.asyncDispose]()
      throw error
    }
    // Nothing more is read of it, but a full pipe would stop it.
    child.stderr?.resume()
    return registry
  }

  get url(): string {
    return `http://${this.host}`
  }

  /** Where uploads lie that were begun and neither finished nor cancelled. */
  async openUploads(repository: string): Promise<readonly string[]> {
    const cwd = join(this.#dir, 'data/docker/registry/v2/repositories', repository, '_uploads')
    return await Array.fromAsync(glob('*/startedat', { cwd }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#process
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
    await rm(this.#dir, { recursive: true, force: true })
  }
}

async function listening({ stderr }: ChildProcess): Promise<void> {
  if (stderr === null) throw new Error('no standard error')
  for await (const line of createInterface({ input: stderr })) if (line.includes('listening on')) return
  throw new Error('docker-registry did not start')
}
