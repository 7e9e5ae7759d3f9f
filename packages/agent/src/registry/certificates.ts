import { hash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { Endpoint } from './endpoint.ts'
import { readHostsToml, type TlsPaths } from './hosts-toml.ts'
import { MAX_REMEMBERED } from './limits.ts'
import { Remembered } from './remembered.ts'

/** How long a look at the folders counts, ms: a renewed certificate is used that much later at most. */
const LOOK_MS = 10_000

/** TLS with one registry, as PEM. */
export interface TlsMaterial {
  /** Trusted beside the system's authorities. */
  readonly ca: readonly string[]
  readonly client: { readonly cert: string; readonly key: string } | undefined
  readonly skipVerify: boolean
  /** Equal for equal material. */
  readonly id: string
}

export interface CertificatesDeps {
  readonly clock: Clock
  readonly log: Pick<Logger, 'warn'>
}

interface Look {
  readonly at: number
  readonly material: Promise<TlsMaterial | undefined>
}

/**
 * Private authorities and client certificates that the operator's other tools use: folders `host:port` (containerd's
 * `host_port_`, too) with `*.crt` for authorities, `*.cert` with `*.key` for this host, and containerd's hosts.toml.
 * They are read again when they change.
 */
export class Certificates {
  readonly #deps: CertificatesDeps
  readonly #dirs: readonly string[]
  readonly #looks = new Remembered<string, Look>(MAX_REMEMBERED)
  readonly #told = new Remembered<string, string>(MAX_REMEMBERED)

  /** @param dirs the first one to ask first: of several client certificates the first counts */
  constructor(deps: CertificatesDeps, dirs: readonly string[]) {
    this.#deps = deps
    this.#dirs = dirs
  }

  /** What is special about TLS with a registry; undefined for nothing. What cannot be read is left out, and logged. */
  async of(endpoint: Endpoint): Promise<TlsMaterial | undefined> {
    const now = this.#deps.clock.now()
    const known = this.#looks.get(endpoint.registry)
    if (known !== undefined && now - known.at < LOOK_MS) return await known.material
    const material = this.#read([...new Set([endpoint.registry, endpoint.base.host])])
    this.#looks.set(endpoint.registry, { at: now, material })
    return await material
  }

  async #read(hosts: readonly string[]): Promise<TlsMaterial | undefined> {
    const folders = this.#dirs.flatMap((dir) => hosts.flatMap(foldersOf).map((name) => join(dir, name)))
    const found: TlsPaths[] = []
    for (const folder of folders) found.push(...(await this.#inFolder(folder, hosts)))
    const ca: string[] = []
    for (const path of new Set(found.flatMap((paths) => paths.ca))) ca.push(...((await this.#pem(path)) ?? []))
    const client = await this.#firstPair(found.flatMap((paths) => paths.client))
    const skipVerify = found.some((paths) => paths.skipVerify)
    if (ca.length === 0 && client === undefined && !skipVerify) return undefined
    return { ca, client, skipVerify, id: hash('sha256', JSON.stringify([ca, client, skipVerify])) }
  }

  async #inFolder(folder: string, hosts: readonly string[]): Promise<TlsPaths[]> {
    const names = await readdir(folder).catch((error: unknown): string[] => {
      this.#unusable(folder, error)
      return []
    })
    const named = (ending: string) => names.filter((name) => name.endsWith(ending)).sort()
    const client = named('.cert').map((name) => {
      const key = name.replace(/cert$/, 'key')
      return { cert: join(folder, name), key: join(folder, names.includes(key) ? key : name) }
    })
    const plain = { ca: named('.crt').map((name) => join(folder, name)), client, skipVerify: false }
    if (!names.includes('hosts.toml')) return [plain]
    const file = join(folder, 'hosts.toml')
    try {
      return [readHostsToml(await readFile(file, 'utf8'), hosts, file), plain]
    } catch (error) {
      this.#unusable(file, error)
      return [plain]
    }
  }

  async #firstPair(pairs: TlsPaths['client']): Promise<TlsMaterial['client']> {
    for (const { cert, key } of pairs) {
      const [certPem] = (await this.#pem(cert)) ?? []
      const [keyPem] = (await this.#pem(key)) ?? []
      if (certPem !== undefined && keyPem !== undefined) return { cert: certPem, key: keyPem }
    }
    return undefined
  }

  async #pem(path: string): Promise<[string] | undefined> {
    try {
      return [await readFile(path, 'utf8')]
    } catch (error) {
      return this.#unusable(path, error)
    }
  }

  /** Tells once that something cannot be used; that a folder is not there is no news. */
  #unusable(path: string, error: unknown): undefined {
    const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR') return
    const reason = code ?? (error instanceof Error ? error.message : 'not readable')
    if (this.#told.get(path) === reason) return
    this.#told.set(path, reason)
    this.#deps.log.warn({ file: path, reason }, 'file is not used')
  }
}

function foldersOf(host: string): string[] {
  const port = /^(.+):(\d+)$/.exec(host)
  return port === null ? [host] : [`${port[1]}_${port[2]}_`, host]
}
