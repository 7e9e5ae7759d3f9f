import { pieceSourceConformance } from '@layerswarm/testkit/conformance/piece-source.ts'
import { LyingPeer } from '@layerswarm/testkit/lying-peer.ts'
import { host } from './fleet.ts'

pieceSourceConformance('a peer', {
  kind: 'peer',
  lacks: ['PEER_GONE'],
  breaks: ['PEER_UNREACHABLE'],
  open: async (blob, behaviour) => {
    const stack = new AsyncDisposableStack()
    const us = stack.use(await host())
    const source = (id: string) => us.network.source(id, blob.digest, blob.layout)
    if (behaviour === 'serves' || behaviour === 'lacks') {
      const them = stack.use(await host())
      if (behaviour === 'serves') await them.store.add(blob.digest, blob.layout, blob.bytes)
      await us.network.connect(them.address)
      return { source: source(them.node.id), [Symbol.asyncDispose]: async () => await stack.disposeAsync() }
    }
    const them = stack.use(await LyingPeer.start({ blobs: [blob] }))
    them.events.on('get', () => {
      if (them.asked.length > 1) them.lie = 'stall'
    })
    if (behaviour === 'breaks') them.events.once('half', () => void them[Symbol.asyncDispose]())
    await us.network.connect(them.address)
    return { source: source(them.id), [Symbol.asyncDispose]: async () => await stack.disposeAsync() }
  }
})
