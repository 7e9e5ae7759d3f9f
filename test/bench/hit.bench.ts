import { type Benchmark, rowOf, type Sample } from './measure.ts'
import { download, prepare, REPOSITORY, ROUNDS } from './subjects.ts'

/** A layer that the agent has on disk, beside others that serve the same bytes to the same client. */
const hit: Benchmark = {
  title: 'a mirror hit from disk: one 512 MiB layer over loopback',
  async run() {
    const { fleet, host, image, layer, others } = await prepare()
    await using _ = fleet
    const agent = await fleet.startAgent(host)
    await agent.pull(fleet.registry.name, REPOSITORY, 'v1', image)
    const url = `${agent.mirror}/v2/${REPOSITORY}/blobs/${layer.digest}?ns=${fleet.registry.name}`
    const subjects = [{ subject: 'agent', pid: agent.process.pid, url }, ...others]
    const samples = new Map<string, Sample[]>(subjects.map(({ subject }) => [subject, []]))
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const { subject, pid, url } of subjects) samples.get(subject)?.push(await download(host, [pid], url))
    }
    return subjects.map(({ subject }) => rowOf(subject, samples.get(subject) ?? []))
  }
}

export default hit
