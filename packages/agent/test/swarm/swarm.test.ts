import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { mapRoot, verifyClaim } from '@layerswarm/core/claims.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { MemoryBlobStore } from '@layerswarm/testkit/memory-blob-store.ts'
import { MemoryRegistryClient } from '@layerswarm/testkit/memory-registry-client.ts'
import type { PartialBlob } from '../../src/ports.ts'
import { type BenchOptions, SwarmBench } from './swarm-bench.ts'

const MIB = 1024 ** 2
const blob = fixtureBlob(4 * MIB)

/** A bench in virtual time, whose registry has the blob. */
async function bench(options: BenchOptions = {}): Promise<SwarmBench & { clock: ManualClock; memory: MemoryRegistryClient }> {
  const clock = new ManualClock()
  const memory = new MemoryRegistryClient([])
  const opened = await SwarmBench.open({ clock, client: memory, connected: true, ...options })
  await opened.put(blob)
  return Object.assign(opened, { clock, memory })
}

function registryReads(one: { memory: MemoryRegistryClient }): number {
  return one.memory.calls.filter((call) => call.startsWith('content')).length
}

describe('from another zone', () => {
  const far = [{ id: 'far', name: 'far', addrs: [], zone: 'elsewhere' }]

  test('nothing is fetched until the tracker makes this host a gateway', async () => {
    await using b = await bench()
    b.peers.add('far').give(blob)
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    const finished = b.swarm.finished(blob.digest)
    b.swarm.planned({ blobs: [{ digest: blob.digest, known: true, complete: 0, leases: [] }], peers: far })
    b.peers.up('far')
    transfer.setMap(blob.map, true)
    await b.clock.advance(300)
    assert.equal(transfer.counts.peer, 0)
    b.directory.say({ type: 'peers', blob: blob.digest, peers: [], gateway: { number: 0, of: 1 } })
    await b.clock.runUntil(finished)
    assert.deepEqual(transfer.counts, { local: 0, peer: 4 * MIB, registry: 0 })
  })

  test('it comes at once where the plan has said so', async () => {
    await using b = await bench()
    b.peers.add('far').give(blob)
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    const planned = { digest: blob.digest, known: true, complete: 0, leases: [], gateway: { number: 0, of: 2 } }
    b.swarm.planned({ blobs: [planned], peers: far })
    b.peers.up('far')
    transfer.setMap(blob.map, true)
    await b.clock.advance(300)
    assert.equal(transfer.counts.peer, 2 * MIB, 'its half of the runs')
  })
})

describe('from peers', () => {
  test('pieces are fetched by a proven map, and the registry is not asked', async () => {
    await using b = await bench()
    for (const id of ['a', 'b']) {
      b.peers.add(id).give(blob)
      b.peers.up(id)
    }
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    const finished = b.swarm.finished(blob.digest)
    transfer.setMap(blob.map, true)
    await b.clock.runUntil(finished)
    assert.deepEqual(transfer.counts, { local: 0, peer: 4 * MIB, registry: 0 })
    assert.deepEqual([registryReads(b), b.received.peer], [0, 4 * MIB])
    assert.deepEqual(
      b.directory.told('done').map(({ root }) => Buffer.from(root)),
      [Buffer.from(mapRoot(blob.digest, blob.map))]
    )
  })

  test('a blob of one piece needs no map', async () => {
    await using b = await bench()
    const small = fixtureBlob(1000)
    b.peers.add('a').give(small)
    b.peers.up('a')
    await b.swarm.start(b.ref(small.digest), small.layout)
    await b.clock.runUntil(b.swarm.finished(small.digest))
    assert.equal((await b.store.stat(small.digest))?.state, 'complete')
    assert.deepEqual(b.directory.told('done'), [])
  })

  test('one that sends false bytes is refused from then on, and the blob comes from others', async () => {
    await using b = await bench()
    const liar = b.peers.add('liar')
    liar.give(blob)
    liar.sends = (_, bytes) => bytes.fill(0, 0, 10)
    b.peers.up('liar')
    b.peers.add('honest').give(blob)
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    const finished = b.swarm.finished(blob.digest)
    transfer.setMap(blob.map, true)
    b.peers.up('honest')
    await b.clock.runUntil(finished)
    assert.deepEqual(b.peers.banned, ['liar'])
    assert.ok(b.failures.includes('mismatch'))
    assert.equal((await b.store.stat(blob.digest))?.state, 'complete')
  })

  test('a piece of another number counts as a lie', async () => {
    await using b = await bench()
    const peer = b.peers.add('odd')
    peer.give(blob)
    const { source } = b.peers
    b.peers.source = (...args) => {
      const real = source.apply(b.peers, args)
      return {
        ...real,
        async *fetch(run, options) {
          for await (const { piece, bytes } of real.fetch(run, options)) yield { piece: piece + 1, bytes }
        }
      }
    }
    b.peers.up('odd')
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    transfer.setMap(blob.map, true)
    await b.clock.advance(10)
    assert.deepEqual(b.peers.banned, ['odd'])
  })

  test('a failure against a map that is one host’s word bans nobody', async () => {
    await using b = await bench({ connected: false })
    b.peers.add('teller').give(blob, { pieces: [], map: Buffer.alloc(blob.map.byteLength, 1) })
    b.peers.add('honest').give(blob)
    b.peers.up('teller')
    b.peers.up('honest')
    b.memory.hangs = true
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    await b.clock.advance(100)
    assert.deepEqual(b.peers.banned, [])
    assert.ok(b.failures.includes('mismatch'))
    assert.equal(transfer.book.hasMap, false)
    assert.equal(transfer.partial.have().count, 0, 'nothing unproven was taken meanwhile')
  })

  test('one that is gone, or cannot be reached, is left; the registry has the rest', async () => {
    for (const code of ['PEER_GONE', 'PEER_UNREACHABLE'] as const) {
      await using b = await bench({ connected: false })
      const peer = b.peers.add('a')
      peer.give(blob, { map: blob.map })
      peer.error = new LayerswarmError(code)
      b.peers.up('a')
      const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
      await b.clock.runUntil(b.swarm.finished(blob.digest))
      assert.ok(b.failures.includes(code === 'PEER_GONE' ? 'gone' : 'unreachable'))
      assert.equal(transfer.counts.registry, 4 * MIB)
      assert.deepEqual(b.peers.banned, [])
    }
  })

  test('one that never answers does not hold the blob up', async () => {
    await using b = await bench()
    const peer = b.peers.add('hung')
    peer.give(blob)
    peer.gate = new Promise(() => undefined)
    b.peers.up('hung')
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    transfer.setMap(blob.map, true)
    await b.clock.runUntil(b.swarm.finished(blob.digest), 10_000)
    assert.equal(transfer.counts.registry, 4 * MIB)
  })

  test('a piece that comes twice is counted once', async () => {
    await using b = await bench()
    const peers = ['a', 'b'].map((id) => b.peers.add(id))
    for (const peer of peers) peer.give(blob)
    b.peers.up('a')
    b.peers.up('b')
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    const finished = b.swarm.finished(blob.digest)
    await b.clock.advance(10)
    transfer.request('a', 3, { received: 0, elapsed: 0 })
    transfer.setMap(blob.map, true)
    transfer.request('b', 3, { received: 0, elapsed: 0 })
    await b.clock.runUntil(finished)
    assert.deepEqual(transfer.counts, { local: 0, peer: 4 * MIB, registry: 0 })
  })
})

test('a piece that waits at a busy peer is taken from another that has it by then, and nobody is blamed', async () => {
  await using b = await bench()
  const [busy, idle] = [b.peers.add('busy'), b.peers.add('idle')]
  busy.gate = Promise.withResolvers().promise
  busy.give(blob, { pieces: [3] })
  b.peers.up('busy')
  const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
  transfer.setMap(blob.map, true)
  await b.clock.advance(50)
  assert.deepEqual(busy.asked, [3])
  busy.load = 9
  busy.give(blob, { pieces: [] })
  idle.give(blob, { pieces: [3] })
  b.peers.up('idle')
  await b.clock.advance(50)
  assert.deepEqual([busy.asked, idle.asked], [[3], [3]])
  assert.ok(transfer.has(3))
  assert.deepEqual(b.failures, [])
})

describe('a cold blob', () => {
  test('a holder fetches what is leased, and signs a claim on each piece under the lease', async () => {
    await using b = await bench()
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    const leases = [await b.lease(blob, 0), await b.lease(blob, 1)]
    b.memory.hangs = true
    b.swarm.planned({ blobs: [{ digest: blob.digest, known: true, complete: 0, leases }], peers: [] })
    await b.clock.advance(10)
    b.directory.say({ type: 'leases', blob: blob.digest, grant: [], revoke: [0, 1] })
    await b.clock.advance(10)
    b.memory.hangs = false
    assert.equal(transfer.partial.have().count, 0)
    b.directory.say({ type: 'leases', blob: blob.digest, grant: leases, revoke: [] })
    await b.clock.runUntil(b.swarm.finished(blob.digest))
    const reports = b.directory.told('report')
    assert.equal(
      reports.reduce((sum, { bytes }) => sum + bytes, 0),
      4 * MIB
    )
    assert.deepEqual([...new Set(reports.flatMap(({ got }) => got))].length, 16)
    const claimed = transfer.book.claimed()
    assert.equal(claimed.count, 16)
    assert.deepEqual([...transfer.book.authors], [b.peers.id])
  })

  test('another host’s claims vouch for what peers have, and are kept beside the blob', async () => {
    await using b = await bench()
    const author = await newIdentity()
    const claims = await Promise.all([0, 1, 2, 3].map((piece) => b.claim(author, blob, piece)))
    b.peers.add('relay').give(blob, { claims })
    b.peers.up('relay')
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    await b.clock.advance(100)
    assert.deepEqual([...transfer.partial.have()], [0, 1, 2, 3])
    assert.equal(transfer.partial.claims().length, 4)
    for (const claim of transfer.partial.claims()) assert.ok(await verifyClaim(claim))
    await b.swarm.abandon(blob.digest, new Error('enough'))
    const again = await b.swarm.start(b.ref(blob.digest), blob.layout)
    assert.deepEqual([...again.book.claimed()], [0, 1, 2, 3], 'they are known at once the next time')
    assert.deepEqual(again.counts, { local: MIB, peer: 0, registry: 0 })
  })

  test('without a lease there is no claim while a tracker is connected, and one without it', async () => {
    for (const connected of [true, false]) {
      await using b = await bench({ connected })
      const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
      await b.clock.runUntil(b.swarm.finished(blob.digest))
      assert.equal(transfer.book.claimed().count, connected ? 0 : 16)
      assert.equal(transfer.counts.registry, 4 * MIB)
    }
  })
})

describe('the tracker', () => {
  test('names hosts, maps and leases at any time', async () => {
    await using b = await bench()
    b.peers.add('a').give(blob)
    const transfer = await b.swarm.start(b.ref(blob.digest), blob.layout)
    await b.clock.advance(10)
    b.directory.say({ type: 'peers', blob: blob.digest, peers: [{ id: 'a', addrs: [], name: 'a' }] })
    b.directory.say({ type: 'peers', blob: blob.digest, peers: [{ id: 'nowhere', addrs: [], name: 'nowhere' }] })
    b.directory.say({ type: 'map', blob: blob.digest, size: blob.layout.size, map: { hashes: blob.map, proven: true } })
    await b.clock.runUntil(b.swarm.finished(blob.digest))
    assert.deepEqual(b.peers.dialled, ['a', 'nowhere'])
    assert.equal(transfer.counts.peer, 4 * MIB)
  })

  test('gets the map of a blob that it wants', async () => {
    const store = new MemoryBlobStore()
    await store.add(blob.digest, blob.layout, blob.bytes)
    await using b = await bench({ store })
    b.directory.say({ type: 'wantMap', blob: fixtureBlob(5).digest })
    b.directory.say({ type: 'wantMap', blob: blob.digest })
    await b.clock.advance(10)
    const [told] = b.directory.told('map')
    assert.ok(Buffer.from(told?.hashes ?? []).equals(blob.map))
    assert.equal(b.directory.told('map').length, 1)
  })

  test('is heard also after a map could not be read', async () => {
    class BrokenStore extends MemoryBlobStore {
      broken = true
      override async open(...args: Parameters<MemoryBlobStore['open']>) {
        if (this.broken) throw new LayerswarmError('STORE_FAILED')
        return await super.open(...args)
      }
    }
    const store = new BrokenStore()
    await store.add(blob.digest, blob.layout, blob.bytes)
    await using b = await bench({ store })
    await b.clock.advance(10)
    b.directory.say({ type: 'wantMap', blob: blob.digest })
    await b.clock.advance(10)
    store.broken = false
    b.directory.say({ type: 'wantMap', blob: blob.digest })
    await b.clock.advance(10)
    assert.equal(b.directory.told('map').length, 1)
  })

  test('that comes back is told what is under way', async () => {
    await using b = await bench()
    b.memory.hangs = true
    await b.swarm.start(b.ref(blob.digest), blob.layout)
    b.directory.say({ type: 'leases', blob: blob.digest, grant: [await b.lease(blob, 1)], revoke: [] })
    await b.clock.advance(10)
    const [partial] = b.swarm.partials()
    assert.ok(partial?.t === 'partial')
    assert.deepEqual([partial.size, [...partial.bits], partial.leases.map(({ run }) => run)], [4 * MIB, [0, 0], [1]])
  })
})

describe('a fetch', () => {
  test('is started once, however many ask', async () => {
    await using b = await bench()
    const ref = b.ref(blob.digest)
    const started = await Promise.all([b.swarm.start(ref, blob.layout), b.swarm.start(ref, blob.layout)])
    assert.equal(started[0], started[1])
    assert.equal(await b.swarm.start(ref, blob.layout), started[0])
  })

  test('of an empty blob is done at once', async () => {
    await using b = await bench()
    const empty = fixtureBlob(0)
    await b.swarm.start(b.ref(empty.digest), empty.layout)
    await b.clock.runUntil(b.swarm.finished(empty.digest))
    assert.equal((await b.store.stat(empty.digest))?.state, 'complete')
  })

  test('that begins while an earlier one of the blob closes waits for it', async () => {
    await using b = await bench()
    b.memory.hangs = true
    await b.swarm.start(b.ref(blob.digest), blob.layout)
    const abandoned = b.swarm.abandon(blob.digest, new Error('enough'))
    const again = await b.swarm.start(b.ref(blob.digest), blob.layout)
    await abandoned
    assert.equal(b.swarm.running(blob.digest), again)
  })

  test('whose commit takes long is not let go before it is through', async () => {
    const commits = Promise.withResolvers<void>()
    class SlowStore extends MemoryBlobStore {
      override async begin(...args: Parameters<MemoryBlobStore['begin']>): Promise<PartialBlob> {
        const partial = await super.begin(...args)
        const commit = partial.commit.bind(partial)
        partial.commit = async () => {
          await commits.promise
          await commit()
        }
        return partial
      }
    }
    await using b = await bench({ store: new SlowStore(), connected: false })
    await b.swarm.start(b.ref(blob.digest), blob.layout)
    await using reader = await b.store.open(blob.digest)
    const read = (async () => {
      let bytes = 0
      for await (const chunk of reader?.read({ start: 0, end: blob.layout.size }) ?? []) bytes += chunk.byteLength
      return bytes
    })()
    read.catch(() => undefined)
    await b.clock.advance(60_000)
    commits.resolve()
    assert.equal(await b.clock.runUntil(read), blob.layout.size)
    await b.clock.advance(200)
    assert.equal(b.swarm.activity().length, 0)
  })

  test('whose commit fails is given up with the reason', async () => {
    class FailingStore extends MemoryBlobStore {
      override async begin(...args: Parameters<MemoryBlobStore['begin']>): Promise<PartialBlob> {
        const partial = await super.begin(...args)
        partial.commit = async () => {
          throw new LayerswarmError('STORE_FAILED')
        }
        return partial
      }
    }
    await using b = await bench({ store: new FailingStore(), connected: false })
    await b.swarm.start(b.ref(blob.digest), blob.layout)
    await assert.rejects(b.clock.runUntil(b.swarm.finished(blob.digest)), (error) => isLayerswarmError(error, 'STORE_FAILED'))
    assert.equal(b.swarm.running(blob.digest), undefined)
  })

  test('that no source can feed is given up with the registry’s last word', async () => {
    await using b = await bench()
    b.memory.error = new LayerswarmError('REGISTRY_BUSY')
    await b.swarm.start(b.ref(blob.digest), blob.layout)
    await assert.rejects(b.clock.runUntil(b.swarm.finished(blob.digest), 60_000), (error) => isLayerswarmError(error, 'REGISTRY_BUSY'))
    assert.equal(b.directory.told('cancel').length, 1)
  })

  test('goes on when the registry fails and comes back', async () => {
    await using b = await bench({ connected: false })
    b.memory.error = new LayerswarmError('REGISTRY_FAILED')
    await b.swarm.start(b.ref(blob.digest), blob.layout)
    const finished = b.swarm.finished(blob.digest)
    await b.clock.advance(3000)
    b.memory.error = undefined
    await b.clock.runUntil(finished, 20_000)
    assert.ok(registryReads(b) > 2)
  })

  test('gives a lease back when the registry refuses this host', async () => {
    await using b = await bench()
    b.memory.error = new LayerswarmError('REGISTRY_DENIED')
    await b.swarm.start(b.ref(blob.digest), blob.layout)
    b.directory.say({ type: 'leases', blob: blob.digest, grant: [await b.lease(blob, 0)], revoke: [] })
    await b.clock.advance(100)
    const released = b.directory.told('release').map(({ runs, reason, bar }) => ({ runs, reason, bar }))
    assert.deepEqual(released, [{ runs: [0], reason: 'denied', bar: true }])
  })
})
