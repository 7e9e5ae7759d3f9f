/**
 * What an agent holds in memory while it does nothing, and at most while it moves images of several shapes: from the
 * registry to its client, from a peer to its client, and to a peer.
 */
import { join } from 'node:path'
import { Fleet } from '../harness/fleet.ts'
import type { Agent } from '../harness/layerswarm.ts'
import { payloadBytes } from '../harness/published-image.ts'
import { MIB, type Row, residentMib } from './measure.ts'

interface Shape {
  readonly subject: string
  readonly layers: number
  readonly layerMib: number
  /** One client reads nothing on from this many bytes until all others have everything. */
  readonly slowFrom?: number
}

const SHAPES: readonly Shape[] = [
  { subject: '1 GiB in one layer', layers: 1, layerMib: 1024 },
  { subject: '4 GiB in one layer', layers: 1, layerMib: 4096 },
  { subject: '4 GiB in 8 layers at once, one read slowly', layers: 8, layerMib: 512, slowFrom: 64 * MIB }
]

await using fleet = await Fleet.create({ hosts: 0 })
const { host } = fleet.registry
const rows: Row[] = []
for (const [index, shape] of SHAPES.entries()) rows.push(...(await measure(shape, `bench/large${index}`)))
console.table(rows)

async function measure(shape: Shape, repository: string): Promise<Row[]> {
  const layers = Array.from({ length: shape.layers }, (_, index) => ({ seed: `${repository} ${index}`, size: shape.layerMib * MIB }))
  const image = await fleet.registry.publish(repository, { layers })
  const first = await fleet.startAgent(host)
  const second = await fleet.startAgent(host, { port: 5150, dataDir: join(host.dir, 'receiver') })
  const idle = rowOf('idle, just started', first)
  const pull = async (agent: Agent): Promise<void> => {
    await agent.resolve(fleet.registry.name, repository, 'v1', image)
    const bodies = image.layers.map(({ digest }, index) => {
      const pauseAt = index === 0 ? shape.slowFrom : undefined
      const url = `${agent.mirror}/v2/${repository}/blobs/${digest}?ns=${fleet.registry.name}`
      return host.client.http(url, { keep: 'count', ...(pauseAt === undefined ? {} : { pauseAt }) })
    })
    const [slow, ...rest] = bodies
    await Promise.all(shape.slowFrom === undefined ? bodies : rest)
    slow?.resume()
    await slow
  }
  await pull(first)
  const fromRegistry = rowOf(`${shape.subject}: registry to client`, first)
  await pull(second)
  const { registry } = await second.received()
  if (registry >= payloadBytes(image) / 100) throw new Error(`${registry} bytes came from the registry, not from the peer`)
  const rows = [idle, fromRegistry, rowOf(`${shape.subject}: peer to client`, second), rowOf(`${shape.subject}: and to a peer`, first)]
  await first.wipe()
  await second.wipe()
  return rows
}

function rowOf(subject: string, agent: Agent): Row {
  const { now, peak } = residentMib(agent.process.pid)
  return { subject, 'MiB now': now, 'MiB at most': peak }
}
