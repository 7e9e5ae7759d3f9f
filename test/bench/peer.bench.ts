/**
 * Agent to agent over loopback, the receiver cold each time: the bytes are sent, received, verified, stored and handed
 * to the client. Beside others that only serve the same bytes to the same client.
 */
import { join } from 'node:path'
import { rowOf, type Sample } from './measure.ts'
import { download, prepare, REPOSITORY, ROUNDS } from './subjects.ts'

const { fleet, host, image, layer, others } = await prepare()
await using _ = fleet
const sender = await fleet.startAgent(host)
await sender.pull(fleet.registry.name, REPOSITORY, 'v1', image)
const between: Sample[] = []
const samples = others.map((): Sample[] => [])
for (let round = 0; round < ROUNDS; round += 1) {
  const receiver = await fleet.startAgent(host, { port: 5150, dataDir: join(host.dir, 'receiver') })
  await receiver.resolve(fleet.registry.name, REPOSITORY, 'v1', image)
  const url = `${receiver.mirror}/v2/${REPOSITORY}/blobs/${layer.digest}?ns=${fleet.registry.name}`
  between.push(await download(host, [sender.process.pid, receiver.process.pid], url))
  const { registry } = await receiver.received()
  if (registry >= layer.size / 100) throw new Error(`${registry} bytes came from the registry, not from the peer`)
  await receiver.wipe()
  for (const [index, { pid, url }] of others.entries()) samples[index]?.push(await download(host, [pid], url))
}
console.table([rowOf('two agents', between), ...others.map(({ subject }, index) => rowOf(subject, samples[index] ?? []))])
