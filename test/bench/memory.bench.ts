/** What an agent holds in memory while it does nothing, and at most while it moves a GiB each way. */
import { join } from 'node:path'
import { Fleet } from '../harness/fleet.ts'
import type { Agent } from '../harness/layerswarm.ts'
import { MIB, type Row, residentMib } from './measure.ts'

const REPOSITORY = 'bench/large'

await using fleet = await Fleet.create({ hosts: 0 })
const { host } = fleet.registry
const image = await fleet.registry.publish(REPOSITORY, { layers: [{ seed: 'large', size: 1024 * MIB }] })
const first = await fleet.startAgent(host)
const second = await fleet.startAgent(host, { port: 5150, dataDir: join(host.dir, 'receiver') })
const rows = [rowOf('idle, just started', first)]
await first.pull(fleet.registry.name, REPOSITORY, 'v1', image)
rows.push(rowOf('1 GiB from the registry to a client', first))
await second.pull(fleet.registry.name, REPOSITORY, 'v1', image)
rows.push(rowOf('1 GiB from a peer to a client', second), rowOf('and 1 GiB to a peer', first))
console.table(rows)

function rowOf(subject: string, agent: Agent): Row {
  const { now, peak } = residentMib(agent.process.pid)
  return { subject, 'MiB now': now, 'MiB at most': peak }
}
