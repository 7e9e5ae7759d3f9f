import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import type { SourceCounts } from '@layerswarm/agent/ports.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { Fixture } from './mirror-fixture.ts'

const LAYER = new SeededRandom('layer').bytes(300_000)

describe('waiting for the first byte', () => {
  const start = async () => {
    const clock = new ManualClock()
    const mirror = await Fixture.start({ clock })
    const { layer } = mirror.image(LAYER)
    const counts: { -readonly [K in keyof SourceCounts]: number } = { local: 0, peer: 0, registry: 0 }
    mirror.content.faults.set(layer.digest, { after: 0, counts })
    const opened = once(mirror.content.events, 'opened')
    return { clock, mirror, layer, counts, opened }
  }

  test('containerd is sent elsewhere after 5 s in which nothing moves', async () => {
    const { clock, mirror, layer, opened } = await start()
    await using _ = mirror
    const reply = mirror.ask(`/v2/library/app/blobs/${layer.digest}?ns=docker.io`)
    await opened
    await clock.advance(4_500)
    assert.equal(mirror.content.held, 1)
    await clock.advance(1_000)
    assert.equal((await reply).status, 504)
    assert.equal(mirror.content.held, 0)
  })

  test('while bytes arrive it waits, but not beyond 25 s', async () => {
    const { clock, mirror, layer, counts, opened } = await start()
    await using _ = mirror
    const reply = mirror.ask(`/v2/library/app/blobs/${layer.digest}?ns=docker.io`)
    await opened
    for (let second = 0; second < 24; second++) {
      counts.peer += 1000
      await clock.advance(1_000)
    }
    assert.equal(mirror.content.held, 1)
    await clock.advance(1_500)
    assert.equal((await reply).status, 504)
  })

  test('bytes of a piece that is not whole yet are arriving bytes, too', async () => {
    const { clock, mirror, layer, opened } = await start()
    await using _ = mirror
    let moved = 0
    mirror.content.faults.set(layer.digest, { after: 0, counts: { local: 0, peer: 0, registry: 0 }, moved: () => moved })
    const reply = mirror.ask(`/v2/library/app/blobs/${layer.digest}?ns=docker.io`)
    await opened
    for (let second = 0; second < 20; second++) {
      moved += 1000
      await clock.advance(1_000)
    }
    assert.equal(mirror.content.held, 1)
    await clock.advance(5_500)
    assert.equal((await reply).status, 504)
  })

  for (const [who, path, range] of [
    ['a client that names no ns', '', ''],
    ['containerd in the middle of a blob', '?ns=docker.io', 'bytes=1000-']
  ] as const) {
    test(`${who} has nowhere else to go: it waits as long as anything moves, and a minute when nothing does`, async () => {
      const { clock, mirror, layer, counts, opened } = await start()
      await using _ = mirror
      const reply = mirror.ask(`/v2/library/app/blobs/${layer.digest}${path}`, range === '' ? {} : { range })
      await opened
      for (let step = 0; step < 3; step++) {
        counts.registry += 1000
        await clock.advance(50_000)
      }
      assert.equal(mirror.content.held, 1)
      await clock.advance(61_000)
      assert.equal((await reply).status, 504)
    })
  }

  test('a HEAD is answered within 2.5 s, a registry that hangs or not', async () => {
    const clock = new ManualClock()
    await using mirror = await Fixture.start({ clock })
    mirror.registry.hangs = true
    for (const path of [
      '/v2/app/manifests/latest',
      `/v2/app/manifests/sha256:${'1'.repeat(64)}`,
      `/v2/app/blobs/sha256:${'1'.repeat(64)}`
    ]) {
      const called = once(mirror.registry.events, 'call')
      const reply = mirror.ask(path, {}, 'HEAD')
      await called
      await clock.advance(2_500)
      assert.equal((await reply).status, 503, path)
    }
  })

  test('a manifest that does not come sends its client elsewhere after 5 s', async () => {
    const clock = new ManualClock()
    await using mirror = await Fixture.start({ clock })
    const { manifest } = mirror.image(LAYER)
    mirror.content.faults.set(manifest.digest, { after: 0 })
    const opened = once(mirror.content.events, 'opened')
    const reply = mirror.ask('/v2/app/manifests/latest')
    await opened
    await clock.advance(5_000)
    assert.equal((await reply).status, 504)
  })
})
