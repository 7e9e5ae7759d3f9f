import { layoutOf } from '@layerswarm/core/piece-layout.ts'
import { EventQueue } from './event-queue.ts'
import { Link } from './link.ts'
import { SimRegistry } from './registry.ts'

/**
 * What one host takes without an agent: its client reads `atOnce` layers at a time, each by one connection.
 * @param rate of the host's link, bytes a second
 * @returns milliseconds
 */
export function alone(
  layers: readonly number[],
  rate: number,
  registry: ConstructorParameters<typeof SimRegistry>[1],
  atOnce: number
): number {
  const queue = new EventQueue()
  const source = new SimRegistry(queue, registry)
  const downlink = new Link(rate)
  let begun = 0
  let ended = 0
  const next = () => {
    const size = layers[begun++]
    if (size === undefined) return
    const layout = layoutOf(size)
    source.fetch(
      layout,
      { first: 0, count: layout.pieces },
      downlink,
      () => undefined,
      () => {
        ended++
        next()
      }
    )
  }
  for (let i = 0; i < atOnce; i++) next()
  queue.runUntil(() => ended === layers.length, Number.POSITIVE_INFINITY)
  return queue.now
}
