import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { ContentRef } from '@layerswarm/agent/ports.ts'
import { UndiciRegistryClient } from '@layerswarm/agent/registry/registry-client.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { RateLimiter } from '@layerswarm/core/rate-limiter.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { pino } from 'pino'
import { assertBytes, bytesOf } from './support.ts'

const RATE = 1_000_000

/** A registry on a socket, and a client of it whose limit goes by a clock of its own. */
class Limited implements AsyncDisposable {
  readonly registry: FakeRegistry
  readonly clock = new ManualClock()
  readonly limit = new RateLimiter({ clock: this.clock }, { bytesPerSecond: RATE })
  readonly received: { at: number; bytes: number }[] = []
  readonly client: UndiciRegistryClient

  private constructor(registry: FakeRegistry) {
    this.registry = registry
    this.client = new UndiciRegistryClient(
      {
        log: pino({ level: 'silent' }),
        limit: this.limit,
        metrics: {
          onRequest: () => undefined,
          onBytes: ({ bytes }) => this.received.push({ at: this.clock.now(), bytes }),
          onSent: () => undefined
        }
      },
      { registries: new Map([[registry.host, { insecure: true }]]), userAgent: 'layerswarm/test' }
    )
  }

  static async open(): Promise<Limited> {
    return new Limited(await FakeRegistry.start())
  }

  async blob(repository: string, bytes: Uint8Array): Promise<ContentRef> {
    return { registry: this.registry.host, repository, digest: await this.registry.putBlob(repository, bytes), kind: 'blob' }
  }

  /** Until somebody waits for the rate. */
  async waiting(): Promise<void> {
    while (this.clock.sleeping === 0) await turn()
  }

  bytesIn(from: number, ms: number): number {
    return this.received.reduce((sum, { at, bytes }) => sum + (at >= from && at < from + ms ? bytes : 0), 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]()
    await this.registry[Symbol.asyncDispose]()
  }
}

function bytes(size: number, seed: number): Buffer {
  return Buffer.alloc(size, `layer ${seed} `)
}

test('blobs come from a registry at the rate that is set, evenly, and whole', async () => {
  await using limited = await Limited.open()
  const content = bytes(3_500_000, 1)
  const ref = await limited.blob('team/app', content)
  assertBytes(await limited.clock.runUntil(bytesOf(limited.client.content(ref))), content)
  for (let from = 0; from <= 2400; from += 200) {
    const second = limited.bytesIn(from, 1000)
    assert.ok(second <= RATE * 1.05 && second >= RATE * 0.95, `${second} bytes in the second from ${from} ms`)
  }
})

test('images share the rate alike, however many of their layers are fetched at once', async () => {
  await using limited = await Limited.open()
  const layer = bytes(1_000_000, 1)
  const [large, small] = [await limited.blob('team/large', layer), await limited.blob('team/small', layer)]
  const got = { large: 0, small: 0 }
  const read = async (of: keyof typeof got, ref: ContentRef) => {
    const { body } = await limited.client.content(ref)
    for await (const chunk of body) got[of] += chunk.byteLength
    return { ...got }
  }
  const many = Promise.all([read('large', large), read('large', large), read('large', large)])
  const atTheEndOfSmall = await limited.clock.runUntil(read('small', small))
  assert.ok(Math.abs(atTheEndOfSmall.large / atTheEndOfSmall.small - 1) < 0.1, JSON.stringify(atTheEndOfSmall))
  await limited.clock.runUntil(many)
  assert.equal(got.large, 3 * layer.byteLength)
})

test('a manifest does not wait behind blobs, and counts', async () => {
  await using limited = await Limited.open()
  const content = bytes(2_000_000, 1)
  const ref = await limited.blob('team/app', content)
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, config: { digest: digestOf(content) }, layers: [], pad: 'x'.repeat(90_000) })
  )
  const digest = limited.registry.putManifest('team/app', 'v1', manifest, MEDIA_TYPES.ociManifest)
  const { body } = await limited.client.content(ref)
  let got = 0
  const reading = (async () => {
    for await (const chunk of body) got += chunk.byteLength
  })()
  await limited.waiting()
  const before = limited.clock.now()
  assertBytes(await bytesOf(limited.client.content({ ...ref, digest, kind: 'manifest' })), manifest)
  assert.equal(limited.clock.now(), before)
  await limited.clock.runUntil(reading)
  assert.equal(got, content.byteLength)
  const expected = ((content.byteLength + manifest.byteLength) / RATE) * 1000
  assert.ok(Math.abs(limited.clock.now() / expected - 1) < 0.05, `${limited.clock.now()} ms, not ${expected}`)
})

test('a read that waits for the rate ends when it is aborted', async () => {
  await using limited = await Limited.open()
  const ref = await limited.blob('team/app', bytes(2_000_000, 1))
  const stop = new AbortController()
  const reading = bytesOf(limited.client.content(ref, undefined, { signal: stop.signal }))
  await limited.waiting()
  const reason = new Error('not wanted')
  stop.abort(reason)
  await assert.rejects(reading, reason)
  assert.equal(limited.clock.sleeping, 0)
})
