import { join } from 'node:path'
import type { Agent } from '../harness/layerswarm.ts'
import { type Benchmark, MIB, type Row, residentMib } from './measure.ts'
import { prepare } from './subjects.ts'

const REPOSITORY = 'bench/large'
const SIZE = 1024 * MIB

/** What an agent holds in memory while it does nothing, and at most while it moves a GiB each way. */
const memory: Benchmark = {
  title: 'resident memory, MiB; each moves a layer of 1 GiB',
  async run() {
    const { fleet, host } = await prepare()
    await using _ = fleet
    const image = await fleet.registry.publish(REPOSITORY, { layers: [{ seed: 'large', size: SIZE }] })
    const first = await fleet.startAgent(host)
    const second = await fleet.startAgent(host, { port: 5150, dataDir: join(host.dir, 'receiver') })
    const rows: Row[] = [rowOf('idle, just started', first)]
    await first.pull(fleet.registry.name, REPOSITORY, 'v1', image)
    rows.push(rowOf('fetched from the registry, served to a client', first))
    await second.pull(fleet.registry.name, REPOSITORY, 'v1', image)
    rows.push(rowOf('fetched from a peer, served to a client', second))
    rows.push(rowOf('and served to a peer', first))
    return rows
  }
}

function rowOf(subject: string, agent: Agent): Row {
  return { subject, ...residentMib(agent.process.pid) }
}

export default memory
