import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from './free-port.ts'

export interface NginxOptions {
  /** Files beside the configuration, by name. */
  readonly files?: Readonly<Record<string, string>>
  /** Directives of the one server; it listens with TLS on {@link Nginx.host}. */
  readonly server: readonly string[]
}

/** A real nginx on loopback that ends TLS. */
export class Nginx implements AsyncDisposable {
  readonly host: string
  readonly #process: ChildProcess
  readonly #dir: string

  private constructor(host: string, process: ChildProcess, dir: string) {
    this.host = host
    this.#process = process
    this.#dir = dir
  }

  /** @throws {Error} when the program is missing or does not start */
  static async start({ files = {}, server }: NginxOptions): Promise<Nginx> {
    const dir = await mkdtemp(join(tmpdir(), 'layerswarm-nginx-'))
    const host = `127.0.0.1:${await freePort()}`
    for (const [name, content] of Object.entries(files)) await writeFile(join(dir, name), content)
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`)
    const config = `
      pid ${dir}/pid;
      error_log stderr notice;
      events {}
      http {
        access_log off;
        ${temporary.join('\n        ')}
        server {
          listen ${host} ssl;
          client_max_body_size 0;
          ${server.join('\n          ')}
        }
      }`
    await writeFile(join(dir, 'nginx.conf'), config)
    const args = ['-p', dir, '-c', join(dir, 'nginx.conf'), '-e', 'stderr', '-g', 'daemon off; master_process off;']
    const child = spawn('nginx', args, { stdio: ['ignore', 'ignore', 'pipe'] })
    const nginx = new Nginx(host, child, dir)
    try {
      const ended = once(child, 'exit').then(([code]) => Promise.reject(new Error(`nginx ended with ${code}`)))
      await Promise.race([ready(child), ended])
    } catch (error) {
      await nginx[Symbol.asyncDispose]()
      throw error
    }
    // Nothing more is read of it, but a full pipe would stop it.
    child.stderr?.resume()
    return nginx
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

/** It tells how it waits for events once it listens. */
async function ready({ stderr }: ChildProcess): Promise<void> {
  if (stderr === null) throw new Error('no standard error')
  for await (const line of createInterface({ input: stderr })) if (line.includes('event method')) return
  throw new Error('nginx did not start')
}
