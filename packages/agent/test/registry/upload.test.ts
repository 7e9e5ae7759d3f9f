import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ContentRef } from '@layerswarm/agent/ports.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import type { Fault, FaultRule } from '@layerswarm/testkit/fake-registry/faults.ts'
import { FakeRegistry, type FakeRegistryOptions } from '@layerswarm/testkit/fake-registry.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { assertBytes, assertCode, bytesOf, ClientUnderTest, REPOSITORY } from './support.ts'

const MIB = 1024 * 1024
const bytes = new SeededRandom('upload').bytes(3 * MIB + 77)
const digest = digestOf(bytes)

class Target implements AsyncDisposable {
  readonly registry: FakeRegistry
  readonly under: ClientUnderTest
  /** Offsets that content was asked for from. */
  readonly asked: number[] = []

  private constructor(registry: FakeRegistry, under: ClientUnderTest) {
    this.registry = registry
    this.under = under
  }

  static async open(options: FakeRegistryOptions = {}): Promise<Target> {
    const registry = await FakeRegistry.start(options)
    const credentials = { find: async () => ({ kind: 'password', username: 'user', password: 'secret' }) as const }
    return new Target(registry, new ClientUnderTest(registry.host, {}, options.access === undefined ? undefined : credentials))
  }

  get ref(): ContentRef {
    return { registry: this.registry.host, repository: REPOSITORY, digest, kind: 'blob' }
  }

  readonly content = async function* (this: Target, from: number): AsyncGenerator<Uint8Array> {
    this.asked.push(from)
    for (let at = from; at < bytes.byteLength; at += MIB) yield bytes.subarray(at, at + MIB)
  }.bind(this)

  async push(options: { mountFrom?: string; onSent?: (bytes: number) => void } = {}) {
    return await this.under.client.uploads.blob(this.ref, bytes.byteLength, this.content, options)
  }

  async assertThere(): Promise<void> {
    this.registry.clearFaults()
    assertBytes(await bytesOf(this.under.client.content(this.ref)), bytes)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.under[Symbol.asyncDispose]()
    await this.registry[Symbol.asyncDispose]()
  }
}

test('a blob goes up in one request, and not again', async () => {
  await using target = await Target.open()
  const sent: number[] = []
  assert.equal(await target.push({ onSent: (total) => sent.push(total) }), 'sent')
  assert.equal(sent.at(-1), bytes.byteLength)
  await target.assertThere()
  const put = target.registry.log.requests({ method: 'PUT' })
  assert.equal(put.length, 1)
  assert.equal(put[0]?.headers['content-length'], String(bytes.byteLength))
  assert.equal(target.registry.log.count({ method: 'PATCH' }), 0)
  assert.equal(await target.push(), 'held')
  assert.deepEqual(target.asked, [0])
  assert.equal(target.under.sent, bytes.byteLength)
})

test('an empty blob goes up too', async () => {
  await using target = await Target.open()
  const empty = { ...target.ref, digest: digestOf(new Uint8Array(0)) }
  assert.equal(await target.under.client.uploads.blob(empty, 0, target.content), 'sent')
  assert.equal((await target.under.client.resolve(empty)).size, 0)
})

test('what another repository has is mounted; what it has not is sent to the upload that was opened', async () => {
  await using target = await Target.open()
  await target.registry.putBlob('team/base', bytes)
  assert.equal(await target.push({ mountFrom: 'team/base' }), 'mounted')
  assert.equal(target.under.sent, 0)
  await target.assertThere()
  const other = { ...target.ref, repository: 'team/other' }
  assert.equal(await target.under.client.uploads.blob(other, bytes.byteLength, target.content, { mountFrom: 'team/none' }), 'sent')
  assert.equal(target.registry.log.requests({ kind: 'upload', method: 'POST' }).length, 2)
})

for (const status of [401, 403, 404, 405]) {
  test(`a mount that is refused with ${status} is done without`, async () => {
    await using target = await Target.open()
    await target.registry.putBlob('team/base', bytes)
    target.registry.fault({ kind: 'upload', method: 'POST', times: 1, fault: { status } })
    assert.equal(await target.push({ mountFrom: 'team/base' }), 'sent')
    await target.assertThere()
  })
}

test('a broken upload goes on where it broke', async () => {
  await using target = await Target.open()
  target.registry.fault({ kind: 'upload', method: 'PUT', times: 1, fault: { breakUploadAfter: 2 * MIB } })
  target.registry.fault({ kind: 'upload', method: 'PATCH', times: 1, fault: { breakUploadAfter: 1000 } })
  assert.equal(await target.push(), 'sent')
  assert.deepEqual(target.asked, [0, 2 * MIB, 2 * MIB + 1000])
  await target.assertThere()
})

const failures: readonly (readonly [string, FaultRule])[] = [
  ['a registry that fails once at the end', { kind: 'upload', method: 'PUT', times: 1, fault: { status: 502 } }],
  ['a registry that fails once at the start', { kind: 'upload', method: 'POST', times: 1, fault: { status: 503 } }],
  ['an upload that the registry has lost', { kind: 'upload', method: 'PUT', times: 1, fault: { status: 404 } }],
  ['a registry that cannot say how far it got', { kind: 'upload', method: 'GET', fault: { status: 404 } }],
  ['a registry without HEAD', { kind: 'blob', method: 'HEAD', fault: { status: 405 } }],
  ['a registry that lets nobody look', { kind: 'blob', method: 'HEAD', fault: { status: 403 } }]
]
for (const [name, rule] of failures) {
  test(name, async () => {
    await using target = await Target.open()
    target.registry.fault(rule)
    if (rule.method === 'GET') target.registry.fault({ kind: 'upload', method: 'PUT', times: 1, fault: { breakUploadAfter: MIB } })
    assert.equal(await target.push(), 'sent')
    await target.assertThere()
  })
}

test('an answer that was lost is found out by asking for the blob', async () => {
  await using target = await Target.open()
  target.registry.fault({ kind: 'upload', method: 'PUT', times: 1, fault: { cutAfter: 0, headers: { 'content-length': '5' } } })
  assert.equal(await target.push(), 'sent')
  assert.equal(target.registry.log.count({ method: 'PUT' }), 1)
  await target.assertThere()
})

const refusals: readonly (readonly [string, Fault, Parameters<typeof assertCode>[1]])[] = [
  ['refuses uploads', { status: 405 }, 'REGISTRY_DENIED'],
  ['grants no access', { status: 403 }, 'REGISTRY_DENIED'],
  ['finds it too large', { status: 413 }, 'REGISTRY_REFUSED'],
  ['wants peace', { status: 429 }, 'REGISTRY_BUSY'],
  ['keeps failing', { status: 500 }, 'REGISTRY_FAILED']
]
for (const [name, fault, code] of refusals) {
  test(`a registry that ${name} ends the push with ${code}`, async () => {
    await using target = await Target.open()
    target.registry.fault({ kind: 'upload', method: 'PUT', fault })
    await assertCode(target.push(), code)
    assert.ok(target.registry.log.count({ method: 'PUT' }) <= 6)
    // One that wants peace is not asked for this either.
    assert.equal(target.registry.openUploads, code === 'REGISTRY_BUSY' ? 1 : 0)
  })
}

test('a source that fails is not the registry failing', async () => {
  await using target = await Target.open()
  let opened = 0
  const broken = async function* (): AsyncGenerator<Uint8Array> {
    opened++
    yield bytes.subarray(0, MIB)
    throw new Error('no disk')
  }
  await assert.rejects(target.under.client.uploads.blob(target.ref, bytes.byteLength, broken), { message: 'no disk' })
  assert.equal(opened, 1)
  const prepare = async () => {
    throw new Error('corrupt')
  }
  await assert.rejects(target.under.client.uploads.blob(target.ref, bytes.byteLength, broken, { prepare }), { message: 'corrupt' })
  assert.equal(opened, 1)
  assert.equal(target.registry.openUploads, 0)
})

test('an upload that its caller gives up is not left at the registry, and a registry that does not listen holds nobody up', async () => {
  await using target = await Target.open()
  const never = new Promise(() => undefined)
  for (const hangs of [false, true]) {
    if (hangs) target.registry.fault({ kind: 'upload', method: 'DELETE', fault: { hold: never } })
    const stop = new AbortController()
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, MIB)
      stop.abort(new Error('given up'))
      await never
    }
    const { uploads } = target.under.client
    await assert.rejects(uploads.blob(target.ref, bytes.byteLength, endless, { signal: stop.signal }), { message: 'given up' })
    assert.equal(target.registry.openUploads, hangs ? 1 : 0)
  }
})

test('a push is asked for by the actions it takes', async () => {
  await using target = await Target.open({ access: { type: 'bearer', username: 'user', password: 'secret' } })
  assert.equal(await target.push({ mountFrom: 'team/base' }), 'sent')
  const scopes = target.registry.log.requests({ kind: 'token' }).map(({ query }) => new URLSearchParams(query).getAll('scope').sort())
  assert.ok(scopes.some((list) => list.includes(`repository:${REPOSITORY}:pull,push`)))
  assert.ok(scopes.some((list) => list.includes('repository:team/base:pull')))
})

test('an upload is cancelled with a token of its own, and pushes go on with theirs', async () => {
  await using target = await Target.open({ access: { type: 'bearer', username: 'user', password: 'secret' } })
  target.registry.fault({ kind: 'upload', method: 'PUT', times: 1, fault: { status: 413 } })
  await assertCode(target.push(), 'REGISTRY_REFUSED')
  assert.equal(target.registry.openUploads, 0)
  assert.equal(await target.push(), 'sent')
  const tokens = target.registry.log.requests({ method: 'PUT' }).map(({ headers }) => headers.authorization)
  assert.equal(new Set(tokens).size, 1)
})

test('a manifest goes up last; one whose blobs are missing is told apart from one that is wrong', async () => {
  await using target = await Target.open()
  const descriptor = { mediaType: 'application/vnd.example.thing', digest, size: bytes.byteLength }
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: descriptor, layers: [] }))
  const content = { bytes: manifest, mediaType: MEDIA_TYPES.ociManifest }
  const tag = { registry: target.registry.host, repository: REPOSITORY, tag: '1' }
  await assertCode(target.under.client.uploads.manifest(tag, content), 'BLOB_UNKNOWN')
  await target.push()
  await target.under.client.uploads.manifest({ ...target.ref, kind: 'manifest', digest: digestOf(manifest) }, content)
  await target.under.client.uploads.manifest(tag, content)
  assert.equal(target.registry.tag(REPOSITORY, '1'), digestOf(manifest))
  await assertCode(target.under.client.uploads.manifest(tag, { ...content, bytes: Buffer.from('{}') }), 'REGISTRY_REFUSED')
  target.registry.fault({ kind: 'manifest', method: 'PUT', times: 1, fault: { headers: { 'docker-content-digest': digest } } })
  await assertCode(target.under.client.uploads.manifest(tag, content), 'DIGEST_MISMATCH')
})
