/** A mirror hit from disk, beside others that serve the same bytes to the same client over loopback. */
import { rowOf, type Sample } from './measure.ts'
import { download, prepare, REPOSITORY, ROUNDS } from './subjects.ts'

const { fleet, host, image, layer, others } = await prepare()
await using _ = fleet
const agent = await fleet.startAgent(host)
await agent.pull(fleet.registry.name, REPOSITORY, 'v1', image)
const url = `${agent.mirror}/v2/${REPOSITORY}/blobs/${layer.digest}?ns=${fleet.registry.name}`
const subjects = [{ subject: 'agent, from disk', pid: agent.process.pid, url }, ...others]
const samples = subjects.map((): Sample[] => [])
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [index, { pid, url }] of subjects.entries()) samples[index]?.push(await download(host, [pid], url))
}
console.table(subjects.map(({ subject }, index) => rowOf(subject, samples[index] ?? [])))
