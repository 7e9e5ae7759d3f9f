/**
 * A member of the fleet that speaks another version of the peer protocol: `stranger.ts HOST TRACKER KEYFILE AGENT BLOBFILE`.
 * It asks the agent (a multiaddr) in that version and prints `answer CODE`, the code of the error that it gets. Then it
 * says to the tracker that it holds the blob, and prints `announced`.
 */
import { readFileSync } from 'node:fs'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { readClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode } from '@layerswarm/core/p2p/node.ts'
import { DIRECTORY_PROTOCOL, MAX_DIRECTORY_MESSAGE } from '@layerswarm/core/wire/directory-protocol.ts'
import { MAX_GET_MESSAGE } from '@layerswarm/core/wire/peer-protocol.ts'
import { describeBlob } from '@layerswarm/testkit/blob-fixtures.ts'

const OTHER_VERSION = '/layerswarm/get/99'
const VERSION = '99.0.0'

const [host = '', tracker = '', keyFile = '', agent = '', blobFile = ''] = process.argv.slice(2)
const { key } = await readClusterKey(keyFile)
const { digest, layout } = describeBlob(readFileSync(blobFile))
const identity = await newIdentity()
const listen = { host, port: 5052 }
const node = await createNode({ identity, version: VERSION, listen, clusterKey: key }, { log: createLogger({ level: 'silent' }) })
await node.handle(OTHER_VERSION, { maxMessage: MAX_GET_MESSAGE }, (stream) => stream.start({ onMessage: () => {}, onClose: () => {} }))
console.log(`answer ${await ask()}`)

const trackerId = await node.connect([tracker])
const stream = await node.open(trackerId, DIRECTORY_PROTOCOL, { maxMessage: MAX_DIRECTORY_MESSAGE })
stream.start({ onMessage: () => {}, onClose: () => {} })
stream.send({ t: 'hello', name: 'stranger', version: VERSION, port: listen.port, addrs: [...node.addresses] })
stream.send({ t: 'hold', full: true, add: [{ digest, size: layout.size }], drop: [] })
console.log('announced')

async function ask(): Promise<string> {
  try {
    await node.open(await node.connect([agent]), OTHER_VERSION, { maxMessage: MAX_GET_MESSAGE })
    return 'none'
  } catch (error) {
    return error instanceof LayerswarmError ? error.code : String(error)
  }
}
