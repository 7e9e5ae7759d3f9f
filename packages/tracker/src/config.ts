import { commonOptions, httpListen, peerListen, requireKeyBeyondLoopback } from '@layerswarm/core/config/common-options.ts'
import type { ConfigOf, OptionSet } from '@layerswarm/core/config/options.ts'

const trackerSpecs = {
  p2pListen: peerListen('where agents connect', 5060),
  httpListen,
  ...commonOptions
}

export type TrackerConfig = ConfigOf<typeof trackerSpecs>

export const trackerOptions: OptionSet<TrackerConfig> = {
  name: 'tracker',
  specs: trackerSpecs,
  finish: (config) => {
    requireKeyBeyondLoopback('p2p-listen', config.p2pListen, config.clusterKey)
    return config
  }
}
