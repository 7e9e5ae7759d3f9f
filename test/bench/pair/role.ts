/** One end of a transfer, in a process of its own that its parent talks to. */
import { receivePieces, sendPieces } from './peers.ts'
import type { Receiver, Sender } from './subject.ts'
import { receiveHttp, receiveTls, sendHttp, sendTls } from './yardsticks.ts'

const MIB = 1024 * 1024

const SUBJECTS: Readonly<Record<string, readonly [Sender, Receiver]>> = {
  'peers 4 MiB': [sendPieces(4 * MIB), receivePieces(4 * MIB)],
  'peers 256 KiB': [sendPieces(MIB / 4), receivePieces(MIB / 4)],
  tls: [sendTls, receiveTls],
  http: [sendHttp, receiveHttp]
}

export type Order =
  | { readonly send: string; readonly path: string }
  | { readonly receive: string; readonly from: string; readonly path: string; readonly hashes: readonly string[] }
  | 'cpu'

process.on('message', async (order: Order) => {
  if (order === 'cpu') {
    const { user, system } = process.cpuUsage()
    process.send?.({ cpu: (user + system) / 1e6, rss: process.memoryUsage().rss })
    return
  }
  if ('send' in order) {
    process.send?.(await SUBJECTS[order.send]?.[0](order.path))
    return
  }
  const began = performance.now()
  await SUBJECTS[order.receive]?.[1](order.from, order.path, order.hashes)
  process.send?.((performance.now() - began) / 1000)
})
