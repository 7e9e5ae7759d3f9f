import assert from 'node:assert/strict'
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { ForeignState } from '@layerswarm/agent/ports.ts'
import { hexOf } from '@layerswarm/core/digest.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import pino from 'pino'
import { ContainerdContent } from '../../src/containerd/containerd-content.ts'
import { digestsOf, FakeContainerd } from './fake-containerd.ts'

const log = pino({ level: 'silent' })
const [one, two] = [fixtureBlob(1000, { seed: 1 }), fixtureBlob(1000, { seed: 2 })]

/** What is followed, as time goes on. */
function follow(fake: FakeContainerd, root?: string) {
  const clock = new ManualClock()
  const stop = new AbortController()
  const find = async () => ({ socket: fake.socket, content: root })
  const content = new ContainerdContent({ find, clock, log })
  const states = content.states({ signal: stop.signal })[Symbol.asyncIterator]()
  return {
    content,
    states,
    clock,
    async next(): Promise<ForeignState> {
      let state: ForeignState | undefined
      const found = states.next().then(({ value }) => {
        state = value
      })
      while (state === undefined) await Promise.race([found, clock.advance(100)])
      return state
    },
    async [Symbol.asyncDispose]() {
      const ended = states.next()
      stop.abort(new Error('enough'))
      await assert.rejects(ended, /enough/)
    }
  }
}

test('all namespaces count, and changes are followed by events and by the folder', async () => {
  await using fake = await FakeContainerd.start()
  await fake.add('default', one)
  await using followed = follow(fake)
  const first = await followed.next()
  assert.deepEqual(digestsOf(first), [one.digest])
  assert.deepEqual(first.files.get(one.digest), {
    digest: one.digest,
    size: 1000,
    path: join(fake.root, 'blobs/sha256', hexOf(one.digest)),
    kept: false
  })
  const target = { media_type: 'application/vnd.oci.image.manifest.v1+json', digest: one.digest, size: 1000 }
  fake.namespace('k8s.io').images.set('registry.example.com/team/app:1', target)
  fake.namespace('k8s.io').content.set(one.digest, { bytes: Buffer.from(one.bytes), labels: {} })
  fake.tell('/images/create')
  const second = await followed.next()
  assert.equal(second.files.get(one.digest)?.kept, true)
  assert.deepEqual(
    second.images.map(({ scope, tag }) => [scope, tag]),
    [['registry.example.com/team/app', '1']]
  )
  await writeFile(join(fake.root, 'blobs/sha256', hexOf(one.digest)), 'other bytes')
  assert.ok((await followed.next()).touched?.has(one.digest))
  // containerd 1.x says nothing of what its collector removed.
  for (const { content } of fake.namespaces.values()) content.delete(one.digest)
  await rm(join(fake.root, 'blobs/sha256', hexOf(one.digest)))
  assert.deepEqual(digestsOf(await followed.next()), [])
})

test('its root may lie elsewhere for this process, and has to be readable', async () => {
  await using fake = await FakeContainerd.start()
  await fake.add('default', one)
  const seen = join(fake.dir, 'seen')
  await symlink(fake.root, seen)
  await using followed = follow(fake, seen)
  assert.equal((await followed.next()).files.get(one.digest)?.path, join(seen, 'blobs/sha256', hexOf(one.digest)))
  const clock = new ManualClock()
  const content = new ContainerdContent({
    find: async () => ({ socket: fake.socket, content: join(fake.dir, 'none/content') }),
    clock,
    log
  })
  const stop = new AbortController()
  const next = content.states({ signal: stop.signal })[Symbol.asyncIterator]().next()
  while (content.problem === undefined) await clock.advance(100)
  assert.match(content.problem, /ENOENT/)
  stop.abort(new Error('enough'))
  await assert.rejects(next, /enough/)
})

test('it is followed before it has a folder for what it holds, as containerd 2.x until its first blob', async () => {
  await using fake = await FakeContainerd.start()
  await rm(fake.root, { recursive: true })
  await using followed = follow(fake)
  assert.deepEqual(digestsOf(await followed.next()), [])
  assert.equal(followed.content.problem, undefined)
  await mkdir(join(fake.root, 'blobs/sha256'), { recursive: true })
  await fake.add('default', one)
  fake.tell('/content/create')
  assert.deepEqual(digestsOf(await followed.next()), [one.digest])
  // Its folder is watched by now.
  await writeFile(join(fake.root, 'blobs/sha256', hexOf(one.digest)), 'other bytes')
  assert.ok((await followed.next()).touched?.has(one.digest))
})

test('it is followed again once it is back', async () => {
  await using fake = await FakeContainerd.start()
  await fake.add('default', one)
  await using followed = follow(fake)
  assert.deepEqual(digestsOf(await followed.next()), [one.digest])
  await fake.stop()
  await fake.add('default', two)
  const next = followed.next()
  await fake.listen()
  assert.deepEqual(digestsOf(await next), [one.digest, two.digest].sort())
})

test('who asks for a look has what is there now taken in, without a wait', async () => {
  await using fake = await FakeContainerd.start()
  await using followed = follow(fake)
  const { content, states, clock } = followed
  await assert.rejects(content.look(), { code: 'CONTAINERD_FAILED', message: /none on this host/ })
  assert.deepEqual(digestsOf(await followed.next()), [])
  // Nobody tells of an image, and time stands still.
  fake.namespace('default').images.set('registry.example.com/app:1', { media_type: 'a/b', digest: one.digest, size: 1000 })
  let seen = false
  const looked = content.look().then(() => assert.ok(seen))
  const { value } = await states.next()
  assert.equal(value?.images.length, 1)
  seen = true
  const following = states.next()
  await looked
  await assert.rejects(content.look({ signal: AbortSignal.abort(new Error('enough')) }), /enough/)
  const refused = assert.rejects(content.look(), { code: 'CONTAINERD_FAILED' })
  await fake.stop()
  await refused
  await fake.listen()
  let back = false
  void following.then(() => {
    back = true
  })
  while (!back) await clock.advance(100)
})
