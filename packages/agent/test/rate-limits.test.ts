import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { rateLimits } from '../src/rate-limits.ts'

const MB = 1_000_000

function limits(uploadLimit?: number, downloadLimit?: number, registryLimit?: number, clock = new ManualClock()) {
  return rateLimits({ uploadLimit, downloadLimit, registryLimit }, clock)
}

test('what is not limited passes no limit', () => {
  assert.deepEqual(limits(), { upload: undefined, download: undefined, registry: undefined, rates: {}, lowest: undefined })
})

test('registries and peers share what may be received, and registries have a limit of their own', async () => {
  const clock = new ManualClock()
  const { upload, download, registry, rates, lowest } = limits(undefined, 3 * MB, MB, clock)
  assert.equal(upload, undefined)
  assert.deepEqual([rates, lowest], [{ download: 3 * MB, registry: MB }, MB])
  const got = { peers: 0, registry: 0 }
  const stop = new AbortController()
  const takeAll = async (of: keyof typeof got, throttle: typeof download) => {
    for (;;) {
      await throttle?.take(10_000, { key: of, signal: stop.signal })
      got[of] += 10_000
    }
  }
  const ends = [takeAll('peers', download), takeAll('registry', registry)].map((taking) => assert.rejects(taking))
  await clock.advance(4000)
  stop.abort()
  await Promise.all(ends)
  assert.ok(Math.abs(got.registry / (4 * MB) - 1) < 0.05, `${got.registry} bytes of registries`)
  assert.ok(Math.abs((got.peers + got.registry) / (12 * MB) - 1) < 0.05, `${got.peers + got.registry} bytes in all`)
})

test('uploads have their own', () => {
  const { upload, download } = limits(MB, 2 * MB)
  upload?.charge(10 * MB)
  assert.deepEqual([upload?.tryTake(1), download?.tryTake(1)], [false, true])
})
