/**
 * One host alone and a registry that gives each connection a quarter of the link: a client that reads a layer over one
 * connection, beside the same client through a cold agent, and beside what the link can carry.
 */
import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { Fleet } from '../harness/fleet.ts'
import { startNginx } from '../harness/nginx.ts'
import { REGISTRY_PORT } from '../harness/registry.ts'
import { MIB, median, rounded } from './measure.ts'

const ROUNDS = 5
const LINK_MBIT = 200
const CAP = (LINK_MBIT * 1e6) / 8 / 4
const SIZE = 256 * MIB
const REPOSITORY = 'bench/app'
const CAPPED_PORT = 5001

await using fleet = await Fleet.create({ hosts: 1, rate: `${LINK_MBIT}mbit` })
const host = fleet.host(1)
const image = await fleet.registry.publish(REPOSITORY, { layers: [{ seed: 'bench', size: SIZE }] })
const [layer] = image.layers
assert.ok(layer)
// The rate of a connection is set per response: there is one at a time on each.
const proxy = `location / { proxy_pass http://127.0.0.1:${REGISTRY_PORT}; proxy_set_header Host $http_host; proxy_max_temp_file_size 0; limit_rate ${CAP}; }`
await startNginx(fleet.registry.host, CAPPED_PORT, [proxy])
const capped = `${fleet.registry.host.address}:${CAPPED_PORT}`
const path = `/v2/${REPOSITORY}/blobs/${layer.digest}`

const ways = [
  { way: 'plain client, one connection', seconds: [] as number[], pull: () => download(`http://${capped}${path}`) },
  { way: 'through a cold agent', seconds: [] as number[], pull: throughAgent },
  { way: 'plain client, no cap: the link', seconds: [] as number[], pull: () => download(`http://${fleet.registry.name}${path}`) }
]
for (let round = 0; round < ROUNDS; round += 1) for (const { seconds, pull } of ways) seconds.push(await pull())

process.stdout.write(`${SIZE / MIB} MiB, a link of ${LINK_MBIT} Mbit/s, ${availableParallelism()} cores, medians of ${ROUNDS}\n`)
const plain = median(ways[0]?.seconds ?? [])
console.table(
  ways.map(({ way, seconds }) => ({ way, seconds: rounded(median(seconds)), '÷ plain client': rounded(median(seconds) / plain) }))
)

async function throughAgent(): Promise<number> {
  const agent = await fleet.startAgent(host, { insecureRegistry: capped })
  await agent.resolve(capped, REPOSITORY, 'v1', image)
  const seconds = await download(`${agent.mirror}${path}?ns=${capped}`)
  await agent.wipe()
  return seconds
}

async function download(url: string): Promise<number> {
  const result = await host.client.http(url, { keep: 'count' })
  assert.deepEqual([result.status, result.bytes], [200, layer?.size])
  return result.seconds
}
