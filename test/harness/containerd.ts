import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type Clients, type ConfigVersion, INSTALLED } from './clients.ts'
import type { CommandOptions, CommandResult } from './command.ts'
import { treeDigest, verifyBlobs } from './content.ts'
import type { Host } from './network.ts'
import { type RunningProcess, waitUntil } from './process.ts'

/** The plugin of CRI that pulls images, by the version of the configuration file. */
const IMAGES_PLUGIN = { 1: 'cri', 2: 'io.containerd.grpc.v1.cri', 3: 'io.containerd.cri.v1.images' } as const

interface ContainerdOptions {
  readonly name?: string
  /** The URL that all pulls go to first. */
  readonly mirror?: string
  /** Registries that speak plain HTTP, for direct pulls. */
  readonly insecure?: readonly string[]
  /** What stands in its file beside where its own files are: for CRI to read the hosts folder, if absent. */
  readonly config?: string
  /** Whether its CRI plugin drops a layer's blob once it is unpacked. */
  readonly discardsLayers?: boolean
  readonly clients?: Clients
  /** The version of its file; by default the one that it is written for. */
  readonly configVersion?: ConfigVersion
}

/** Debian's containerd on a host, all its files in a folder of its own, its CRI plugin serving too. */
export class Containerd {
  readonly host: Host
  readonly socket: string
  readonly root: string
  /** What `ctr --hosts-dir` and the CRI plugin read: one `_default/hosts.toml` if there is a mirror, else empty. */
  readonly hostsDir: string
  readonly configFile: string
  readonly #name: string
  readonly #clients: Clients
  #process!: RunningProcess

  private constructor(host: Host, name: string, clients: Clients) {
    const dir = join(host.dir, name)
    this.host = host
    this.socket = join(dir, 'c.sock')
    this.root = join(dir, 'root')
    this.hostsDir = join(dir, 'certs.d')
    this.configFile = join(dir, 'config.toml')
    this.#name = name
    this.#clients = clients
  }

  static async start(host: Host, options: ContainerdOptions = {}): Promise<Containerd> {
    const { clients = INSTALLED, configVersion = clients.containerdConfigs[0] } = options
    const containerd = new Containerd(host, options.name ?? 'containerd', clients)
    const { hostsDir } = containerd
    if (options.mirror !== undefined) {
      write(join(hostsDir, '_default'), 'hosts.toml', `[host."${options.mirror}"]\n  capabilities = ["pull", "resolve"]\n`)
    }
    for (const registry of options.insecure ?? []) {
      write(
        join(hostsDir, registry),
        'hosts.toml',
        `server = "http://${registry}"\n[host."http://${registry}"]\n  capabilities = ["pull", "resolve"]\n`
      )
    }
    const dir = dirname(containerd.configFile)
    const discards = options.discardsLayers === true
    const cri = configVersion === 3 ? criOf2(discards) : criOf1(IMAGES_PLUGIN[configVersion], discards) + criOf2(discards)
    const registry = `[plugins."${IMAGES_PLUGIN[configVersion]}".registry]\n  config_path = "${hostsDir}"\n`
    write(dir, basename(containerd.configFile), `version = ${configVersion}\n${places(dir)}${cri}${options.config ?? registry}`)
    await containerd.#launch()
    return containerd
  }

  get process(): RunningProcess {
    return this.#process
  }

  /** Stops it and starts it on the same files, as after its configuration was changed. */
  async restart(): Promise<void> {
    await this.#process.stop()
    await this.#launch()
  }

  async #launch(): Promise<void> {
    this.#process = this.host.start(this.#name, 'containerd', ['--config', this.configFile], { binds: this.#clients.binds })
    await this.#process.ready(async () => (await this.tryCtr(['version'])).code === 0)
  }

  /** Runs `ctr` on the host: it resolves names itself, so it has to be there. Throws if it fails. */
  async ctr(args: readonly string[], options?: CommandOptions): Promise<string> {
    return await this.host.run('ctr', ['--address', this.socket, ...args], { ...options, binds: this.#clients.binds })
  }

  async tryCtr(args: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return await this.host.tryRun('ctr', ['--address', this.socket, ...args], { ...options, binds: this.#clients.binds })
  }

  /** Pulls and unpacks an image with `ctr images pull`, by the hosts folder. */
  async pull(reference: string, ...flags: readonly string[]): Promise<void> {
    await this.ctr(['images', 'pull', '--hosts-dir', this.hostsDir, '--snapshotter', 'native', ...flags, reference])
  }

  /** Fetches an image's content with `ctr content fetch`, without unpacking it. */
  async fetch(reference: string, options?: CommandOptions): Promise<void> {
    await this.ctr(['content', 'fetch', '--hosts-dir', this.hostsDir, reference], options)
  }

  /** Removes every image, of CRI too, and waits until its content is gone, so that the next pull starts cold. */
  async clear(): Promise<void> {
    for (const namespace of ['default', 'k8s.io']) {
      const list = await this.ctr(['--namespace', namespace, 'images', 'ls', '--quiet'])
      const images = list.split('\n').filter(Boolean)
      if (images.length > 0) await this.ctr(['--namespace', namespace, 'images', 'rm', '--sync', ...images])
    }
    const isEmpty = (dir: string) => !existsSync(dir) || readdirSync(dir).length === 0
    if (!(await waitUntil(() => isEmpty(this.#blobs) && isEmpty(this.#snapshots), 20_000))) {
      throw new Error('The content of removed images is still there.')
    }
  }

  /** What the images came to on disk: the digests of all blobs, each checked, and of the trees that they unpacked to. */
  async content(): Promise<{ blobs: readonly string[]; trees: readonly string[] }> {
    const snapshots = existsSync(this.#snapshots) ? readdirSync(this.#snapshots) : []
    const trees = await Promise.all(snapshots.map((snapshot) => treeDigest(join(this.#snapshots, snapshot))))
    return { blobs: await verifyBlobs(this.#blobs), trees: trees.sort() }
  }

  get #blobs(): string {
    return join(this.root, 'io.containerd.content.v1.content/blobs/sha256')
  }

  get #snapshots(): string {
    return join(this.root, 'io.containerd.snapshotter.v1.native/snapshots')
  }
}

function places(dir: string): string {
  return `root = "${join(dir, 'root')}"
state = "${join(dir, 'state')}"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "${join(dir, 'c.sock')}"
`
}

/** For containerd 1.x. Of these settings 2.x takes none over. */
function criOf1(plugin: string, discardsLayers: boolean): string {
  return `[plugins."${plugin}"]
  disable_cgroup = true
  [plugins."${plugin}".containerd]
    snapshotter = "native"
    discard_unpacked_layers = ${discardsLayers}
`
}

function criOf2(discardsLayers: boolean): string {
  return `[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  discard_unpacked_layers = ${discardsLayers}
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "native"
`
}

function write(dir: string, name: string, content: string): void {
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, name), content)
}
