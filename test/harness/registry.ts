import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ImageSpec } from '@layerswarm/testkit/oci-image.ts'
import type { Host } from './network.ts'
import type { RunningProcess } from './process.ts'
import type { PublishedImage } from './published-image.ts'

export const REGISTRY_PORT = 5000

export interface RegistryRequest {
  readonly from: string
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly status: number
  readonly userAgent: string
}

/** Debian's docker-registry, serving plain HTTP on a host, its content under the host's folder. */
export class Registry {
  readonly host: Host
  /** How images name this registry: `address:port`. */
  readonly name: string
  readonly process: RunningProcess

  private constructor(host: Host, process: RunningProcess) {
    this.host = host
    this.name = `${host.address}:${REGISTRY_PORT}`
    this.process = process
  }

  /**
   * Starts the registry, on the content that it had if it ran before.
   * @param options.cacheOf the URL of a registry that this one caches, instead of having content of its own
   */
  static async start(host: Host, options: { readonly cacheOf?: string } = {}): Promise<Registry> {
    const root = join(host.dir, 'registry')
    mkdirSync(root, { recursive: true })
    const config = join(host.dir, 'registry.json')
    // YAML is a superset of JSON.
    writeFileSync(
      config,
      JSON.stringify({
        version: '0.1',
        log: { level: 'warn', accesslog: { disabled: false } },
        storage: { filesystem: { rootdirectory: root }, cache: { blobdescriptor: 'inmemory' } },
        http: { addr: `:${REGISTRY_PORT}` },
        ...(options.cacheOf === undefined ? {} : { proxy: { remoteurl: options.cacheOf } })
      })
    )
    const process = host.start('registry', 'docker-registry', ['serve', config])
    await process.ready(async () => (await host.client.http(`http://127.0.0.1:${REGISTRY_PORT}/v2/`)).status === 200)
    return new Registry(host, process)
  }

  /** The requests that were answered so far, in order. */
  requests(): RegistryRequest[] {
    const line = /^(\S+) - - \[[^\]]+\] "([A-Z]+) ([^ ?]+)[^"]*" (\d{3}) \d+ "[^"]*" "([^"]*)"$/gm
    return [...this.process.log().matchAll(line)].map(([, from = '', method = '', path = '', status, userAgent = '']) => ({
      from,
      method,
      path,
      status: Number(status),
      userAgent
    }))
  }

  /** The file that a layer was built in. */
  layerFile(digest: string): string {
    return join(this.host.dir, 'images', digest.replace(':', '-'))
  }

  /** Builds an image and uploads it over the registry host's own loopback, so that its link carries none of it. */
  async publish(repository: string, spec: ImageSpec, tag = 'v1'): Promise<PublishedImage> {
    const dir = join(this.host.dir, 'images')
    return await this.host.client.publish({ spec, dir, registryUrl: `http://127.0.0.1:${REGISTRY_PORT}`, repository, tag })
  }
}
