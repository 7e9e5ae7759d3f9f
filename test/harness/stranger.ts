/**
 * A member of the fleet that speaks another version of the peer protocol: connects to the address given (HOST PORT
 * KEYFILE) and asks for that version. Prints the code of the error that it gets, or `none`.
 */
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { readClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode } from '@layerswarm/core/p2p/node.ts'
import { MAX_GET_MESSAGE } from '@layerswarm/core/wire/peer-protocol.ts'

const [host, port, keyFile = ''] = process.argv.slice(2)
const { key } = await readClusterKey(keyFile)
await using node = await createNode(
  { identity: await newIdentity(), version: '99.0.0', clusterKey: key },
  { log: createLogger({ level: 'silent' }) }
)
try {
  const peer = await node.connect([`/ip4/${host}/tcp/${port}`])
  await node.open(peer, '/layerswarm/get/99', { maxMessage: MAX_GET_MESSAGE })
  console.log('none')
} catch (error) {
  console.log(error instanceof LayerswarmError ? error.code : String(error))
}
