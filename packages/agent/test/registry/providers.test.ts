import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { StoredCredentials } from '@layerswarm/agent/registry/stored-credentials.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { PROVIDERS, type Provider } from '@layerswarm/testkit/fake-registry/providers.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { assertBytes, assertCode, bytesOf, ClientUnderTest, REPOSITORY } from './support.ts'

const BYTES = new SeededRandom('providers').bytes(50_000)
const MANIFEST = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] }))

/** A registry of a provider's kind, and a client with what `docker login` would have stored. */
async function open(provider: Provider, stored = provider.stored) {
  await using parts = new AsyncDisposableStack()
  const { access, faults } = provider
  const registry = parts.use(await FakeRegistry.start(access === undefined ? {} : { access }))
  for (const rule of faults) registry.fault(rule)
  const dir = await mkdtemp(join(tmpdir(), 'layerswarm-provider-'))
  parts.defer(() => rm(dir, { recursive: true }))
  const file = join(dir, 'config.json')
  await writeFile(file, JSON.stringify({ auths: stored === undefined ? {} : { [registry.host]: stored } }))
  const lines: string[] = []
  const log = { warn: (...line: unknown[]) => lines.push(JSON.stringify(line)) }
  const credentials = parts.use(new StoredCredentials({ clock: new ManualClock(), log }, { named: file, files: [], env: {} }))
  const under = parts.use(new ClientUnderTest(registry.host, {}, credentials))
  const digest = await registry.putBlob(REPOSITORY, BYTES)
  const open = parts.move()
  const at = { registry: registry.host, repository: REPOSITORY }
  return { registry, under, at, blob: { ...at, digest, kind: 'blob' } as const, lines, [Symbol.asyncDispose]: () => open.disposeAsync() }
}

for (const [name, provider] of Object.entries<Provider>(PROVIDERS)) {
  suite(name, () => {
    test('a tag, its manifest and a blob are fetched with what is stored', async () => {
      await using bench = await open(provider)
      const { registry, under, at, blob } = bench
      const digest = registry.putManifest(REPOSITORY, 'v1', MANIFEST, MEDIA_TYPES.ociIndex)
      const found = await under.client.resolve({ ...at, tag: 'v1' })
      assert.deepEqual(found, { digest, size: MANIFEST.byteLength, mediaType: MEDIA_TYPES.ociIndex })
      // Hub counts GETs of manifests.
      assert.equal(registry.log.count({ kind: 'manifest', method: 'GET' }), 0)
      assertBytes(await bytesOf(under.client.content({ ...at, digest, kind: 'manifest' })), MANIFEST)
      assertBytes(await bytesOf(under.client.content(blob, { start: 10, end: 40_000 })), BYTES.subarray(10, 40_000))
      assert.equal(registry.log.count({ kind: 'token' }), provider.access?.type === 'bearer' ? 1 : 0)
      const scopes = registry.log.requests({ kind: 'token' }).map(({ query }) => new URLSearchParams(query).getAll('scope').join())
      assert.ok(
        scopes.every((scope) => scope === '' || scope === `repository:${REPOSITORY}:pull`),
        scopes.join(' ')
      )
      assert.ok(registry.log.count({ kind: 'stored' }) > 0)
      assert.deepEqual(bench.lines, [])
    })

    if (provider.access === undefined) return
    test('nothing stored, or something wrong, is access refused, and nothing secret is told', async () => {
      const wrong = { auth: Buffer.from('sam:wrong-secret').toString('base64') }
      for (const stored of [undefined, wrong]) {
        await using bench = await open(provider, stored ?? {})
        await assertCode(bench.under.client.resolve(bench.blob), 'REGISTRY_DENIED')
        const error = await bytesOf(bench.under.client.content(bench.blob)).catch((error: unknown) => error)
        const told = [describeError(error), JSON.stringify(error), ...bench.under.lines, ...bench.lines].join('\n')
        for (const secret of ['wrong-secret', wrong.auth]) assert.ok(!told.includes(secret), told)
      }
    })
  })
}
