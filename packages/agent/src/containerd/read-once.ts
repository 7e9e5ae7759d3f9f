import type { Abortable, ForeignState } from '../ports.ts'
import { contentRoot, takeInventory } from './inventory.ts'
import type { ContainerdPlace } from './locate.ts'

/** What containerd holds now. @throws {LayerswarmError} CONTAINERD_FAILED; the signal's reason */
export async function readContainerd(place: ContainerdPlace, options: Abortable = {}): Promise<ForeignState> {
  const { ContainerdClient } = await import('./client.ts')
  using client = new ContainerdClient(place.socket)
  return await takeInventory(client, await contentRoot(client, place, options), options)
}
