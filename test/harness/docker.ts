import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Clients, INSTALLED } from './clients.ts'
import type { Bind, Host } from './network.ts'
import type { RunningProcess } from './process.ts'

/** What an image is to Docker: its id (the config's digest) and the digests of its unpacked layers. */
interface DockerImage {
  readonly Id: string
  readonly RootFS: { readonly Layers: readonly string[] }
}

interface DockerOptions {
  readonly mirrors?: readonly string[]
  readonly insecure?: readonly string[]
  /** A certificate of a registry. */
  readonly trust?: string
  /** Whether it is to run containers, with networks between them and ports of the host. */
  readonly containers?: boolean
  readonly clients?: Clients
  /** Where it keeps images. */
  readonly store?: Clients['dockerStores'][number]
}

/** Without networking, and with a storage driver that works everywhere. */
const IMAGES_ONLY = { bridge: 'none', 'storage-driver': 'vfs' }

const CONTAINERD_STORE = { features: { 'containerd-snapshotter': true }, 'storage-driver': 'native' }

/** Debian's dockerd on a host, with all its files in a folder of its own. */
export class Docker {
  readonly host: Host
  readonly process: RunningProcess
  readonly configFile: string
  /** What it finds at /etc/docker. */
  readonly etc: string
  readonly #url: string
  readonly #binds: readonly Bind[]

  private constructor(host: Host, url: string, configFile: string, process: RunningProcess, binds: readonly Bind[]) {
    this.host = host
    this.etc = join(host.dir, 'etc-docker')
    this.#binds = binds
    this.configFile = configFile
    this.#url = url
    this.process = process
  }

  static async start(host: Host, options: DockerOptions): Promise<Docker> {
    const name = options.store === 'containerd' ? 'docker-containerd' : 'docker'
    const dir = join(host.dir, name)
    mkdirSync(dir)
    const url = `unix://${join(dir, 'd.sock')}`
    const config = join(dir, 'daemon.json')
    writeFileSync(
      config,
      JSON.stringify({
        hosts: [url],
        'data-root': join(dir, 'data'),
        'exec-root': join(dir, 'exec'),
        pidfile: join(dir, 'pid'),
        iptables: false,
        ip6tables: false,
        'ip-forward': false,
        ...(options.containers === true ? {} : IMAGES_ONLY),
        ...(options.store === 'containerd' && CONTAINERD_STORE),
        ...(options.mirrors && { 'registry-mirrors': options.mirrors }),
        'insecure-registries': options.insecure ?? []
      })
    )
    const { binds } = options.clients ?? INSTALLED
    const env: Record<string, string> = options.trust === undefined ? {} : { SSL_CERT_FILE: options.trust }
    const process = host.start(name, 'dockerd', ['--config-file', config], { env, binds })
    const docker = new Docker(host, url, config, process, binds)
    await process.ready(async () => (await host.tryRun('docker', ['--host', url, 'version'], { binds })).code === 0, 30_000)
    return docker
  }

  async pull(reference: string): Promise<void> {
    await this.run(['pull', '--quiet', reference])
  }

  /** Pushes an image that it has under another name. */
  async push(reference: string, to: string): Promise<void> {
    await this.run(['tag', reference, to])
    await this.run(['push', '--quiet', to])
  }

  async inspect(reference: string): Promise<DockerImage> {
    const [image] = JSON.parse(await this.run(['image', 'inspect', reference]))
    return { Id: image.Id, RootFS: image.RootFS }
  }

  /** Removes every image, so that the next pull starts cold. */
  async clear(): Promise<void> {
    await this.run(['image', 'prune', '--all', '--force'])
  }

  /** Runs `docker`, which must succeed; returns what it printed. */
  run(args: readonly string[]): Promise<string> {
    return this.host.run('docker', ['--host', this.#url, ...args], { binds: this.#binds })
  }

  /** Runs `docker-compose` on this engine in the folder of a compose file; it must succeed. Returns what it printed. */
  compose(dir: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
    return this.host.run('docker-compose', args, { cwd: dir, env: { ...env, DOCKER_HOST: this.#url } })
  }
}
