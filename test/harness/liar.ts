/**
 * A member of the fleet that says it holds blobs, and sends wrong bytes for each of their pieces:
 * `liar.ts HOST TRACKER KEYFILE BLOBFILE…`. Prints `announced`, then a line `asked PIECE` for each request.
 */
import { readFileSync } from 'node:fs'
import { readClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import { describeBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { LyingPeer } from '@layerswarm/testkit/lying-peer.ts'

const [host = '', tracker = '', keyFile = '', ...files] = process.argv.slice(2)
const { key } = await readClusterKey(keyFile)
const blobs = files.map((file) => describeBlob(readFileSync(file)))
const liar = await LyingPeer.start({ blobs, lie: 'wrong-bytes', listen: { host, port: 5052 }, clusterKey: key })
liar.events.on('get', (piece: number) => console.log(`asked ${piece}`))
await liar.announceTo(tracker)
console.log('announced')
