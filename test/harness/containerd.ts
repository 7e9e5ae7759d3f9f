import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { CommandOptions, CommandResult } from './command.ts'
import { treeDigest, verifyBlobs } from './content.ts'
import type { Host } from './network.ts'
import { type RunningProcess, waitUntil } from './process.ts'

/** Debian's containerd on a host, all its files in a folder of its own, its CRI plugin serving too. */
export class Containerd {
  readonly host: Host
  readonly socket: string
  readonly root: string
  /** What `ctr --hosts-dir` and the CRI plugin read: one `_default/hosts.toml` if there is a mirror, else empty. */
  readonly hostsDir: string
  readonly configFile: string
  readonly #name: string
  #process!: RunningProcess

  private constructor(host: Host, name: string) {
    const dir = join(host.dir, name)
    this.host = host
    this.socket = join(dir, 'c.sock')
    this.root = join(dir, 'root')
    this.hostsDir = join(dir, 'certs.d')
    this.configFile = join(dir, 'config.toml')
    this.#name = name
  }

  /**
   * `mirror` is the URL that all pulls go to first; `insecure` names registries that speak plain HTTP, for direct pulls.
   * `config` is what stands in its file beside where its own files are: for CRI to read the hosts folder, if absent.
   * `discardsLayers`: its CRI plugin drops a layer's blob once it is unpacked.
   */
  static async start(
    host: Host,
    options: { name?: string; mirror?: string; insecure?: readonly string[]; config?: string; discardsLayers?: boolean } = {}
  ): Promise<Containerd> {
    const containerd = new Containerd(host, options.name ?? 'containerd')
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
    const registry = `[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "${hostsDir}"\n`
    const dir = dirname(containerd.configFile)
    write(dir, basename(containerd.configFile), configuration(dir, options.discardsLayers === true) + (options.config ?? registry))
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
    this.#process = this.host.start(this.#name, 'containerd', ['--config', this.configFile])
    await this.#process.ready(async () => (await this.tryCtr(['version'])).code === 0)
  }

  /** Runs `ctr` on the host: it resolves names itself, so it has to be there. Throws if it fails. */
  async ctr(args: readonly string[], options?: CommandOptions): Promise<string> {
    return await this.host.run('ctr', ['--address', this.socket, ...args], options)
  }

  async tryCtr(args: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return await this.host.tryRun('ctr', ['--address', this.socket, ...args], options)
  }

  /** Pulls and unpacks an image with `ctr images pull`, by the hosts folder. */
  async pull(reference: string, options?: CommandOptions): Promise<void> {
    await this.ctr(['images', 'pull', '--hosts-dir', this.hostsDir, '--snapshotter', 'native', reference], options)
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

function configuration(dir: string, discardsLayers: boolean): string {
  return `version = 2
root = "${join(dir, 'root')}"
state = "${join(dir, 'state')}"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "${join(dir, 'c.sock')}"
[plugins."io.containerd.grpc.v1.cri"]
  disable_cgroup = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    discard_unpacked_layers = ${discardsLayers}
`
}

function write(dir: string, name: string, content: string): void {
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, name), content)
}
