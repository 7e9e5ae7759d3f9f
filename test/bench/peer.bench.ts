import { join } from 'node:path'
import { type Benchmark, rowOf, type Sample } from './measure.ts'
import { download, prepare, REPOSITORY, ROUNDS } from './subjects.ts'

/** A layer that a second agent has to get from the first: sent, received, verified, stored and handed to the client. */
const peer: Benchmark = {
  title: 'agent to agent: one 512 MiB layer over loopback, the receiver cold each time',
  async run() {
    const { fleet, host, image, layer, others } = await prepare()
    await using _ = fleet
    const sender = await fleet.startAgent(host)
    await sender.pull(fleet.registry.name, REPOSITORY, 'v1', image)
    const both: Sample[] = []
    const bySubject = new Map<string, Sample[]>(others.map(({ subject }) => [subject, []]))
    for (let round = 0; round < ROUNDS; round += 1) {
      const receiver = await fleet.startAgent(host, { port: 5150, dataDir: join(host.dir, 'receiver') })
      await receiver.resolve(fleet.registry.name, REPOSITORY, 'v1', image)
      const url = `${receiver.mirror}/v2/${REPOSITORY}/blobs/${layer.digest}?ns=${fleet.registry.name}`
      both.push(await download(host, [sender.process.pid, receiver.process.pid], url))
      const { registry } = await receiver.received()
      if (registry >= layer.size / 100) throw new Error(`${registry} bytes came from the registry, not from the peer`)
      await receiver.wipe()
      for (const { subject, pid, url } of others) bySubject.get(subject)?.push(await download(host, [pid], url))
    }
    return [rowOf('two agents', both), ...others.map(({ subject }) => rowOf(subject, bySubject.get(subject) ?? []))]
  }
}

export default peer
