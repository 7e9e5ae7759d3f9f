import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { blobFile, type Content, type Image } from './images.ts'
import type { Host } from './network.ts'
import type { RunningProcess } from './process.ts'

export const REGISTRY_PORT = 5000

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

  static async start(host: Host): Promise<Registry> {
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
        http: { addr: `:${REGISTRY_PORT}` }
      })
    )
    const process = host.start('registry', 'docker-registry', ['serve', config])
    await process.ready(async () => (await host.client.http(`http://127.0.0.1:${REGISTRY_PORT}/v2/`)).status === 200)
    return new Registry(host, process)
  }

  /** The requests that were answered so far, as `METHOD path status` with the query left out. */
  requests(): string[] {
    const line = /"(GET|HEAD|PUT|POST|PATCH) ([^ ?]+)[^"]*" (\d{3})/g
    return [...this.process.log().matchAll(line)].map((match) => `${match[1]} ${match[2]} ${match[3]}`)
  }

  /** Uploads an image over the registry host's own loopback, so that its link carries none of it. */
  async push(image: Image, repository: string, tag: string): Promise<void> {
    for (const blob of image.blobs) await this.#pushBlob(image, repository, blob)
    for (const manifest of image.manifests) {
      const reference = manifest === image.top ? tag : manifest.digest
      const headers = { 'content-type': manifest.mediaType }
      await this.#put(`/v2/${repository}/manifests/${reference}`, blobFile(image.dir, manifest.digest), headers)
    }
  }

  async #pushBlob(image: Image, repository: string, blob: Content): Promise<void> {
    const base = `http://127.0.0.1:${REGISTRY_PORT}`
    const head = await this.host.client.http(`${base}/v2/${repository}/blobs/${blob.digest}`, { method: 'HEAD' })
    if (head.status === 200) return
    const upload = await this.host.client.http(`${base}/v2/${repository}/blobs/uploads/`, { method: 'POST' })
    const location = new URL(upload.headers.location ?? '', base)
    location.searchParams.set('digest', blob.digest)
    await this.#put(location.pathname + location.search, blobFile(image.dir, blob.digest), { 'content-type': 'application/octet-stream' })
  }

  async #put(path: string, bodyFile: string, headers: Record<string, string>): Promise<void> {
    const url = `http://127.0.0.1:${REGISTRY_PORT}${path}`
    const result = await this.host.client.http(url, { method: 'PUT', bodyFile, headers })
    if (result.status !== 201) throw new Error(`PUT ${path}: ${result.status} ${result.text}`)
  }
}
