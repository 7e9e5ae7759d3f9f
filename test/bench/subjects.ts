import assert from 'node:assert/strict'
import { basename, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Fleet } from '../harness/fleet.ts'
import type { Host } from '../harness/network.ts'
import { startNginx } from '../harness/nginx.ts'
import { REGISTRY_PORT } from '../harness/registry.ts'
import { MIB, type Sample, sample } from './measure.ts'

const FILE_SERVER = fileURLToPath(new URL('./file-server.ts', import.meta.url))
const FILE_SERVER_PORT = 8080
const NGINX_PORT = 8081

export const REPOSITORY = 'bench/app'
const SIZE = 512 * MIB
export const ROUNDS = 5

/** One image with one large layer, and everything that is to be compared on the same host: all of it on its loopback. */
export async function prepare(): Promise<Bench> {
  await using stack = new AsyncDisposableStack()
  const fleet = stack.use(await Fleet.create({ hosts: 0 }))
  const image = await fleet.registry.publish(REPOSITORY, { layers: [{ seed: 'bench', size: SIZE }] })
  const [layer] = image.layers
  assert.ok(layer)
  const { host } = fleet.registry
  const server = host.start('file-server', process.execPath, [
    FILE_SERVER,
    String(FILE_SERVER_PORT),
    fleet.registry.layerFile(layer.digest)
  ])
  await server.ready(async () => (await host.client.http(`http://127.0.0.1:${FILE_SERVER_PORT}/`, { method: 'HEAD' })).status === 200)
  const file = fleet.registry.layerFile(layer.digest)
  const nginx = await startNginx(host, NGINX_PORT, [`location / { alias ${dirname(file)}/; }`])
  stack.move()
  const path = `/v2/${REPOSITORY}/blobs/${layer.digest}`
  return {
    fleet,
    host,
    image,
    layer,
    others: [
      { subject: 'node http file server', pid: server.pid, url: `http://127.0.0.1:${FILE_SERVER_PORT}/` },
      { subject: 'nginx', pid: nginx.pid, url: `http://127.0.0.1:${NGINX_PORT}/${basename(file)}` },
      { subject: 'docker-registry', pid: fleet.registry.process.pid, url: `http://127.0.0.1:${REGISTRY_PORT}${path}` }
    ]
  }
}

interface Bench {
  readonly fleet: Fleet
  readonly host: Host
  readonly image: Awaited<ReturnType<Fleet['registry']['publish']>>
  readonly layer: { readonly digest: string; readonly size: number }
  readonly others: readonly { readonly subject: string; readonly pid: number; readonly url: string }[]
}

/** Downloads `url` on the host and takes what that costs the processes that serve it. */
export async function download(host: Host, pids: readonly number[], url: string): Promise<Sample> {
  return await sample(pids, async () => {
    const result = await host.client.http(url, { keep: 'count' })
    assert.equal(result.status, 200)
    return result
  })
}
