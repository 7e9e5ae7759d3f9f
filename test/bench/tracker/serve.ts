/** A tracker in a process of its own, which says what it costs. */
import { systemClock } from '@layerswarm/core/clock.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { startTracker } from '@layerswarm/tracker/tracker.ts'

/** What the tracker's process has taken so far: processor seconds, memory in bytes. */
export interface Usage {
  readonly cpu: number
  readonly rss: number
  /** Objects: live ones, after a collection. */
  readonly heap: number
}

const [dataDir = ''] = process.argv.slice(2)
const listen = { host: '127.0.0.1', port: 0 }
const log = createLogger({ level: 'silent' })
const tracker = await startTracker({ p2pListen: listen, httpListen: listen, dataDir, clusterKey: undefined }, { log, clock: systemClock })
process.send?.({ id: tracker.id, address: tracker.p2p[0] })

process.on('disconnect', () => process.exit())
process.on('message', (order: 'usage' | 'collect') => {
  if (order === 'collect') globalThis.gc?.()
  const { user, system } = process.cpuUsage()
  const { rss, heapUsed } = process.memoryUsage()
  process.send?.({ cpu: (user + system) / 1e6, rss, heap: heapUsed } satisfies Usage)
})
