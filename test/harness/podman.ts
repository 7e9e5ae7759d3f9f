import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Clients, INSTALLED } from './clients.ts'
import type { Bind, Host } from './network.ts'

/** Writes a registries.conf that sends pulls from `registry` to a mirror first: `host:port/prefix`, plain HTTP. */
export function registriesConf(host: Host, registry: string, mirror: string): string {
  const file = join(host.dir, 'registries.conf')
  writeFileSync(
    file,
    `[[registry]]
prefix = "${registry}"
location = "${registry}"
[[registry.mirror]]
location = "${mirror}"
insecure = true
`
  )
  return file
}

/** Podman on a host, with a storage of its own. */
export class Podman {
  readonly host: Host
  readonly #root: string
  readonly #env: Record<string, string>
  readonly #binds: readonly Bind[]

  /** `etc` stands for /etc/containers. */
  constructor(host: Host, { registriesFile, etc, clients = INSTALLED }: { registriesFile?: string; etc?: string; clients?: Clients } = {}) {
    this.host = host
    this.#binds = [...(etc === undefined ? [] : [{ from: etc, to: '/etc/containers' }]), ...clients.binds]
    this.#root = join(host.dir, 'p')
    mkdirSync(this.#root)
    this.#env = registriesFile === undefined ? {} : { CONTAINERS_REGISTRIES_CONF: registriesFile }
  }

  /** `insecure` allows plain HTTP to the registry itself, for a direct pull. */
  async pull(reference: string, options: { insecure?: boolean } = {}): Promise<void> {
    await this.#podman(['pull', '--quiet', ...(options.insecure ? ['--tls-verify=false'] : []), reference])
  }

  /** Pushes an image that it has under another name, over plain HTTP. */
  async push(reference: string, to: string): Promise<void> {
    await this.#podman(['push', '--quiet', '--tls-verify=false', reference, to])
  }

  async inspect(reference: string): Promise<{ id: string; digest: string; layers: readonly string[] }> {
    const [image] = JSON.parse(await this.#podman(['image', 'inspect', reference]))
    return { id: image.Id, digest: image.Digest, layers: image.RootFS.Layers }
  }

  async clear(): Promise<void> {
    await this.#podman(['image', 'rm', '--all', '--force'])
  }

  #podman(args: readonly string[]): Promise<string> {
    const storage = ['--root', join(this.#root, 'data'), '--runroot', join(this.#root, 'r'), '--storage-driver', 'vfs']
    return this.host.run('podman', [...storage, ...args], { env: this.#env, binds: this.#binds })
  }
}
