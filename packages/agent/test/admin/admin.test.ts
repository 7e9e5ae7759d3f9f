import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { hostname } from 'node:os'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { systemClock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { createAgentMetrics, createMetricsRegistry } from '@layerswarm/core/metrics.ts'
import { Admin, type Readiness } from '../../src/admin/admin.ts'
import type { BlobStat, LocalImageService, PullOptions, PullProgress, PullSummary } from '../../src/ports.ts'

const DIGEST = `sha256:${'a'.repeat(64)}` as Digest
const COUNTS = { local: 0, peer: 3, registry: 1 }
const STEP: PullProgress = { digest: DIGEST, size: 4, counts: COUNTS, done: true }
const SUMMARY: PullSummary = {
  image: 'docker.io/library/app:1',
  digest: DIGEST,
  manifests: 1,
  blobs: 1,
  skipped: 0,
  bytes: 4,
  counts: COUNTS,
  stale: false,
  seconds: 1
}

/** The images of this host, with nothing in them. */
class NoImages implements LocalImageService {
  async *list() {}
  async *blobs() {}
  async *check() {}
  gc: LocalImageService['gc'] = async () => ({ evicted: [], bytes: 0, kept: 0, bound: 0 })
  push = () => Promise.reject(new LayerswarmError('IMAGE_UNKNOWN'))
  put = async () => undefined
  content: LocalImageService['content'] = () => Promise.reject(new LayerswarmError('BLOB_UNKNOWN'))
}

class Fixture implements AsyncDisposable {
  readonly metrics = createMetricsRegistry({ process: false })
  readonly pulls: { reference: string; options: PullOptions }[] = []
  pull = async (_reference: string, options: PullOptions): Promise<PullSummary> => {
    options.onProgress?.(STEP)
    return SUMMARY
  }
  blobs: BlobStat[] = []
  readiness: Readiness = { mirror: true, store: true, tracker: { connected: false } }
  readonly local = new NoImages()
  readonly admin: Admin
  port = 0

  constructor() {
    const blobs = () => this.blobs
    this.admin = new Admin({
      images: {
        pull: (reference, options = {}) => {
          this.pulls.push({ reference, options })
          return this.pull(reference, options)
        }
      },
      local: this.local,
      store: {
        async *list() {
          yield* blobs()
        },
        stat: async (digest) => blobs().find((blob) => blob.digest === digest)
      },
      metrics: this.metrics,
      readiness: () => this.readiness,
      status: () => ({ peers: 3 }),
      clock: systemClock,
      log: createLogger({ level: 'silent' })
    })
  }

  static async start(): Promise<Fixture> {
    const fixture = new Fixture()
    fixture.port = (await fixture.admin.listen({ host: '127.0.0.1', port: 0 })).port
    return fixture
  }

  async begin(method: string, path: string, headers: Record<string, string> = {}, body?: string): Promise<IncomingMessage> {
    const request = httpRequest({ host: '127.0.0.1', port: this.port, method, path, headers, agent: false })
    request.end(body)
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    response.on('close', () => request.destroy())
    return response
  }

  async ask(
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string
  ): Promise<{ status: number; type: string; text: string }> {
    const response = await this.begin(method, path, headers, body)
    return { status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', text: await text(response) }
  }

  async postPull(
    body: unknown,
    headers: Record<string, string> = { 'content-type': 'application/json' }
  ): Promise<{ status: number; lines: Record<string, unknown>[] }> {
    const { status, text: answer } = await this.ask('POST', '/v1/pull', headers, typeof body === 'string' ? body : JSON.stringify(body))
    return {
      status,
      lines: answer
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin.close()
  }
}

test('healthy as long as it lives, ready when the mirror answers and the store is open', async () => {
  await using admin = await Fixture.start()
  assert.equal((await admin.ask('GET', '/healthz')).status, 200)
  const ready = await admin.ask('GET', '/readyz')
  assert.equal(ready.status, 200)
  assert.deepEqual(JSON.parse(ready.text), { ready: true, mirror: true, store: true, tracker: { connected: false } })
  for (const missing of [{ mirror: false }, { store: false }]) {
    admin.readiness = { mirror: true, store: true, tracker: { connected: true }, ...missing }
    const reply = await admin.ask('GET', '/readyz')
    assert.equal(reply.status, 503)
    assert.equal(JSON.parse(reply.text).ready, false)
  }
})

test('metrics, status and blobs', async () => {
  await using admin = await Fixture.start()
  createAgentMetrics(admin.metrics).storeBytes.set({ state: 'complete' }, 5)
  const metrics = await admin.ask('GET', '/metrics')
  assert.match(metrics.type, /^text\/plain; version=0\.0\.4/)
  assert.match(metrics.text, /layerswarm_store_bytes\{state="complete"\} 5/)
  assert.deepEqual(JSON.parse((await admin.ask('GET', '/v1/status')).text), { peers: 3 })
  assert.equal((await admin.ask('GET', '/v1/blobs')).text, '')
  admin.blobs = [1, 2].map((size) => ({ digest: DIGEST, size, state: 'complete', present: size, usedAt: 0 }))
  const blobs = await admin.ask('GET', '/v1/blobs')
  assert.equal(blobs.type, 'application/x-ndjson')
  assert.deepEqual(
    blobs.text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    admin.blobs
  )
})

test('a pull tells how it goes, a line each, and ends with the summary', async () => {
  await using admin = await Fixture.start()
  const { status, lines } = await admin.postPull({ image: 'app:1', platforms: ['linux/arm64'] })
  assert.equal(status, 200)
  assert.deepEqual(lines, [{ progress: STEP }, { summary: SUMMARY }])
  assert.equal(admin.pulls[0]?.reference, 'app:1')
  assert.deepEqual(admin.pulls[0]?.options.platforms, [{ os: 'linux', architecture: 'arm64', variant: 'v8' }])
  await admin.postPull({ image: 'app:1', platforms: 'all' })
  assert.equal(admin.pulls[1]?.options.platforms, 'all')
})

test('a pull that fails ends with the error and its remedy', async () => {
  await using admin = await Fixture.start()
  admin.pull = async () => {
    throw new LayerswarmError('NOT_FOUND', { detail: 'app:1' })
  }
  const { status, lines } = await admin.postPull({ image: 'app:1' })
  assert.equal(status, 200)
  assert.deepEqual(lines, [
    { error: { code: 'NOT_FOUND', message: 'the registry does not have this content: app:1', remedy: 'check the reference' } }
  ])
})

test('a client that goes away ends its pull', async () => {
  await using admin = await Fixture.start()
  const aborted = Promise.withResolvers<void>()
  admin.pull = async (_reference, { signal }) => {
    await new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason))).finally(() => aborted.resolve())
    return SUMMARY
  }
  const response = await admin.begin('POST', '/v1/pull', { 'content-type': 'application/json' }, '{"image":"app"}')
  response.on('error', () => undefined)
  response.destroy()
  await aborted.promise
})

test('closing ends running pulls with an error line', async () => {
  await using admin = await Fixture.start()
  admin.pull = async (_reference, { signal }) => {
    await new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
    return SUMMARY
  }
  const response = await admin.begin('POST', '/v1/pull', { 'content-type': 'application/json' }, '{"image":"app"}')
  const closed = admin.admin.close()
  assert.equal(JSON.parse(await text(response)).error.code, 'STOPPING')
  await closed
})

test('what is no valid request is told', async () => {
  await using admin = await Fixture.start()
  for (const body of [{}, { image: '' }, { image: 1 }, { image: 'a', other: 1 }, { image: 'a', platforms: ['x'] }, '{', '[]', 'null']) {
    const { status, lines } = await admin.postPull(body)
    assert.equal(status, 400, JSON.stringify(body))
    const { code, remedy } = (lines[0]?.error ?? {}) as Record<string, string>
    assert.ok(['REQUEST_INVALID', 'PLATFORM_UNKNOWN'].includes(code ?? '') && remedy)
  }
  assert.equal((await admin.postPull({ image: 'a'.repeat(100_000) })).status, 413)
  assert.equal((await admin.ask('GET', '/nothing')).status, 404)
  assert.deepEqual(admin.pulls, [])
})

test('what a web page could send is refused', async () => {
  await using admin = await Fixture.start()
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', '']) {
    assert.equal((await admin.postPull({ image: 'a' }, { 'content-type': type })).status, 415, type)
  }
  for (const host of ['rebound.example.com', 'rebound.example.com:5051', 'localhost.example.com', '127.0.0.1.example.com', '.']) {
    const reply = await admin.ask('GET', '/v1/status', { host })
    assert.equal(reply.status, 403, host)
    assert.equal(JSON.parse(reply.text).error.code, 'HOST_NOT_ALLOWED')
  }
  for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1:5051', '127.9.9.9', '[::1]:5051', hostname()]) {
    assert.equal((await admin.ask('GET', '/healthz', { host })).status, 200, host)
  }
  for (const path of ['/v1/gc', '/v1/pull']) {
    const reply = await admin.ask('POST', path, { origin: 'http://page.example.com', 'content-type': 'application/json' }, '{"image":"a"}')
    assert.deepEqual([reply.status, JSON.parse(reply.text).error.code], [403, 'ORIGIN_NOT_ALLOWED'])
  }
  assert.deepEqual(admin.pulls, [])
})

test('an address in use is told', async () => {
  await using admin = await Fixture.start()
  await using other = new Fixture()
  await assert.rejects(other.admin.listen({ host: '127.0.0.1', port: admin.port }), { code: 'LISTEN_FAILED' })
})

test('what is asked about images and blobs has to be well-formed', async () => {
  await using admin = await Fixture.start()
  admin.blobs = [{ digest: DIGEST, size: 4, state: 'complete', present: 4, usedAt: 1 }]
  const json = { 'content-type': 'application/json' }
  const octets = { 'content-type': 'application/octet-stream', 'content-length': '4' }
  assert.deepEqual(JSON.parse((await admin.ask('GET', `/v1/blobs/${DIGEST}`)).text), admin.blobs[0])
  const other = `sha256:${'b'.repeat(64)}`
  const table: readonly (readonly [string, string, number, string, Record<string, string>?, string?])[] = [
    ['GET', `/v1/blobs/${other}`, 404, 'BLOB_UNKNOWN'],
    ['GET', '/v1/blobs/nothing', 400, 'DIGEST_INVALID'],
    ['POST', '/v1/blobs/nothing', 400, 'DIGEST_INVALID', octets, 'abcd'],
    ['POST', `/v1/blobs/${other}`, 400, 'REQUEST_INVALID', json, '{}'],
    ['POST', '/v1/check', 400, 'REQUEST_INVALID', json, '{"verify":"yes"}'],
    ['POST', '/v1/push', 400, 'REQUEST_INVALID', json, '{"image":"app"}'],
    ['GET', `/v1/content/${other}?kind=blob`, 400, 'REQUEST_INVALID'],
    ['GET', `/v1/content/${other}?kind=blob&scope=docker.io/library/app`, 404, 'BLOB_UNKNOWN']
  ]
  for (const [method, path, status, code, headers, body] of table) {
    const reply = await admin.ask(method, path, headers, body)
    assert.deepEqual([path, reply.status, JSON.parse(reply.text).error.code], [path, status, code])
  }
  assert.equal((await admin.ask('POST', `/v1/blobs/${other}`, octets, 'abcd')).status, 200)
  const push = await admin.ask('POST', '/v1/push', json, '{"image":"app","from":{"image":"app"}}')
  assert.deepEqual([push.status, JSON.parse(push.text).error.code], [200, 'IMAGE_UNKNOWN'])
})

test('content is let go of once it was sent, and where its client has gone before', async () => {
  await using admin = await Fixture.start()
  const path = `/v1/content/${DIGEST}?kind=blob&scope=docker.io/library/app`
  for (const isGone of [false, true]) {
    const [asked, disposed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    admin.local.content = async (_ref, { signal } = {}) => {
      asked.resolve()
      if (isGone) await new Promise((resolve) => signal?.addEventListener('abort', resolve))
      return {
        size: 4,
        counts: () => COUNTS,
        async *read() {
          yield Buffer.from('abcd')
        },
        [Symbol.asyncDispose]: async () => disposed.resolve()
      }
    }
    if (isGone) {
      const request = httpRequest({ host: '127.0.0.1', port: admin.port, path, agent: false })
      request.on('error', () => undefined).end()
      await asked.promise
      request.destroy()
    } else assert.equal((await admin.ask('GET', path)).text, 'abcd')
    await disposed.promise
  }
})

test('what changes something, and content, is for callers on this host', async () => {
  await using fixture = await Fixture.start()
  const { app } = fixture.admin
  const scope = 'scope=docker.io/library/app&kind=blob'
  const guarded = [
    ['POST', '/v1/pull', { image: 'app:1' }],
    ['POST', '/v1/push', { image: 'app:1', from: { image: 'app:1' } }],
    ['POST', '/v1/check', {}],
    ['POST', '/v1/gc', undefined],
    ['POST', `/v1/blobs/${DIGEST}`, {}],
    ['GET', `/v1/content/${DIGEST}?${scope}`, undefined],
    ['GET', `/v1/%63ontent/${DIGEST}?${scope}`, undefined]
  ] as const
  for (const [method, url, payload] of guarded) {
    const ask = { method, url, ...(payload && { payload }) }
    for (const remoteAddress of ['192.0.2.7', '::ffff:192.0.2.7', '2001:db8::7']) {
      const { statusCode, body } = await app.inject({ ...ask, remoteAddress })
      assert.deepEqual([statusCode, JSON.parse(body).error.code], [403, 'LOCAL_ONLY'], url)
    }
    for (const remoteAddress of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
      assert.notEqual((await app.inject({ ...ask, remoteAddress })).statusCode, 403, url)
    }
  }
  for (const url of ['/healthz', '/readyz', '/metrics', '/v1/status', '/v1/images', '/v1/blobs']) {
    assert.equal((await app.inject({ url, remoteAddress: '192.0.2.7' })).statusCode, 200, url)
  }
})

test('a client that goes away ends the eviction that it asked for', async () => {
  await using fixture = await Fixture.start()
  const begun = Promise.withResolvers<AbortSignal>()
  fixture.local.gc = ({ signal } = {}) => {
    assert.ok(signal)
    begun.resolve(signal)
    return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }
  const request = httpRequest({ host: '127.0.0.1', port: fixture.port, method: 'POST', path: '/v1/gc', agent: false })
  request.on('error', () => undefined)
  request.end()
  const signal = await begun.promise
  const aborted = once(signal, 'abort')
  request.destroy()
  await aborted
})
