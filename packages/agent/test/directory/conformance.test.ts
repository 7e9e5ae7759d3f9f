import { anyDirectory, connectedDirectory } from '@layerswarm/testkit/conformance/peer-directory.ts'
import { TestFleet } from '@layerswarm/testkit/test-fleet.ts'
import { OfflineDirectory } from '../../src/directory/offline-directory.ts'

connectedDirectory('TrackerDirectory', async () => {
  const fleet = await TestFleet.start()
  return {
    host: async () => {
      const { directory, node } = await fleet.join()
      return { directory, id: node.id }
    },
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose]()
  }
})

anyDirectory('OfflineDirectory', async () => ({
  host: async () => ({ directory: new OfflineDirectory(), id: 'nobody' }),
  [Symbol.asyncDispose]: async () => undefined
}))
