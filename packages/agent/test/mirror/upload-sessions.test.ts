import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from '@layerswarm/core/log.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { Arrival } from '../../src/mirror/arrival.ts'
import { UploadSessions } from '../../src/mirror/upload-sessions.ts'
import type { ByteRange, IncomingBlob, RegistryUpload } from '../../src/ports.ts'

const REPOSITORY = { registry: 'registry.example.com', repository: 'team/app' }
const MINUTE = 60_000

class MemoryIncoming implements IncomingBlob {
  bytes = Buffer.alloc(0)
  disposed = false

  get size(): number {
    return this.bytes.byteLength
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.bytes = Buffer.concat([this.bytes, bytes])
  }

  async *read({ start, end }: ByteRange): AsyncGenerator<Uint8Array> {
    yield this.bytes.subarray(start, end)
  }

  async proves(): Promise<boolean> {
    return true
  }

  async keep(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true
  }
}

function sessionsWith() {
  const clock = new ManualClock()
  const cancelled: RegistryUpload[] = []
  const blobs: MemoryIncoming[] = []
  const open = async (): Promise<RegistryUpload> => {
    const upload: RegistryUpload = {
      append: async () => undefined,
      finish: async () => undefined,
      cancel: async () => void cancelled.push(upload)
    }
    return upload
  }
  const receive = async () => {
    const blob = new MemoryIncoming()
    blobs.push(blob)
    return blob
  }
  const log = createLogger({ level: 'silent' })
  return { clock, cancelled, blobs, sessions: new UploadSessions({ uploads: { open }, intake: { receive }, clock, log }) }
}

async function opened(sessions: UploadSessions) {
  const session = await sessions.open(REPOSITORY, {})
  assert.ok(session)
  return session
}

test('an upload whose client does not come back is forgotten after half an hour, here and at the registry', async () => {
  const { clock, cancelled, blobs, sessions } = sessionsWith()
  await using _open = sessions
  const { id, upload } = await opened(sessions)
  await clock.advance(29 * MINUTE)
  assert.equal(sessions.find(id, REPOSITORY).id, id)
  assert.throws(() => sessions.find(id, { ...REPOSITORY, repository: 'team/other' }), { code: 'UPLOAD_UNKNOWN' })
  await clock.advance(29 * MINUTE)
  sessions.find(id, REPOSITORY)
  await clock.advance(30 * MINUTE)
  assert.throws(() => sessions.find(id, REPOSITORY), { code: 'UPLOAD_UNKNOWN' })
  assert.deepEqual([cancelled, blobs[0]?.disposed], [[upload], true])
})

test('of too many uploads the one that waits longest for its client gives way; when all move, another is refused', async () => {
  const { clock, cancelled, sessions } = sessionsWith()
  await using _open = sessions
  const stop = new AbortController()
  const all = []
  for (let count = 0; count < 128; count++) all.push(await opened(sessions))
  await clock.advance(MINUTE)
  const [first, second] = all
  assert.ok(first && second)
  sessions.find(first.id, REPOSITORY)
  const last = await opened(sessions)
  assert.deepEqual(cancelled, [second.upload])
  const busy = [...all, last]
    .filter((session) => session !== second)
    .map((session) => session.alone(stop, (signal) => new Promise((_, reject) => signal.addEventListener('abort', reject))))
  await assert.rejects(sessions.open(REPOSITORY, {}), { code: 'UPLOAD_LIMIT' })
  stop.abort()
  await Promise.allSettled(busy)
})

test('a client that comes again takes its upload over from itself', async () => {
  const { sessions } = sessionsWith()
  await using _open = sessions
  const session = await opened(sessions)
  const { signal } = new AbortController()
  const first = session.alone(
    { signal },
    (stopped) => new Promise((_, reject) => stopped.addEventListener('abort', () => reject(stopped.reason)))
  )
  const failed = assert.rejects(first, { name: 'AbortError' })
  assert.equal(await session.alone({ signal }, async () => 'second'), 'second')
  await failed
})

test('who waits to take an upload over that ends meanwhile is told, and writes nothing to it', async () => {
  const { blobs, sessions } = sessionsWith()
  await using _open = sessions
  const session = await opened(sessions)
  const { signal } = new AbortController()
  const ending = Promise.withResolvers<void>()
  const first = session.alone({ signal }, () => ending.promise)
  const second = assert.rejects(
    session.alone({ signal }, async () => assert.fail('it has ended')),
    { code: 'UPLOAD_UNKNOWN' }
  )
  const cancelled = sessions.cancel(session, 'it is over')
  ending.resolve()
  await Promise.all([first, second, cancelled])
  assert.equal(blobs[0]?.disposed, true)
})

test('uploads that are being opened take places already; when all end, none opens, and the registry forgets them', async () => {
  const { clock, blobs, cancelled, sessions } = sessionsWith()
  const opening = Array.from({ length: 129 }, () => sessions.open(REPOSITORY, {}))
  const results = await Promise.allSettled(opening)
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 128)
  const late = assert.rejects(sessions.open(REPOSITORY, {}), { code: 'STOPPING' })
  await sessions[Symbol.asyncDispose]()
  await late
  assert.ok(blobs.every(({ disposed }) => disposed))
  assert.equal(cancelled.length, 129)
  assert.equal(clock.sleeping, 0)
})

test('a body of which nothing comes holds nobody up who takes its upload over', async () => {
  const never = { next: () => new Promise<never>(() => undefined) }
  const arrival = new Arrival(never, new MemoryIncoming(), () => undefined)
  const stop = new AbortController()
  const waiting = arrival.next({ signal: stop.signal })
  stop.abort(new Error('taken over'))
  await assert.rejects(waiting, /taken over/)
  await assert.rejects(arrival.next({ signal: stop.signal }), /taken over/)
  await arrival[Symbol.asyncDispose]()
})

test('a body is taken no faster than the registry takes it, and once, however often it is given', async () => {
  const blob = new MemoryIncoming()
  let asked = 0
  const body = (async function* () {
    for (; asked < 10; asked++) yield Buffer.from([asked])
  })()
  const arrival = new Arrival(body, blob, () => undefined)
  const first = arrival.content(0)
  assert.deepEqual((await first.next()).value, Buffer.from([0]))
  assert.deepEqual((await first.next()).value, Buffer.from([1]))
  assert.ok(asked <= 2, `${asked} chunks were taken`)
  // The first attempt waits for a chunk when it breaks: the second must not miss that one.
  const pending = first.next()
  assert.deepEqual(Buffer.concat(await Array.fromAsync(arrival.content(1))), Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9]))
  await pending
  assert.equal(blob.size, 10)
})

test('what of a body comes late, when another request has taken over, is not taken in', async () => {
  const blob = new MemoryIncoming()
  const late = Promise.withResolvers<Uint8Array>()
  const body = (async function* () {
    yield Buffer.from('a')
    yield await late.promise
  })()
  const arrival = new Arrival(body, blob, () => undefined)
  await arrival.next()
  const second = assert.rejects(arrival.next(), /not wanted/)
  await arrival[Symbol.asyncDispose]()
  late.resolve(Buffer.from('b'))
  await second
  assert.equal(blob.bytes.toString(), 'a')
})

test('a body that broke stays broken for whoever asks', async () => {
  const body = (async function* () {
    yield Buffer.from('a')
    throw new Error('gone')
  })()
  const arrival = new Arrival(body, new MemoryIncoming(), () => undefined)
  for (let times = 0; times < 2; times++) await assert.rejects(Array.fromAsync(arrival.content(0)), { message: 'gone' })
})
