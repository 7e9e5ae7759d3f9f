import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { after, before, suite, test } from 'node:test'
import { type RunningAgent, startAgent } from '@layerswarm/agent/agent.ts'
import { agentOptions } from '@layerswarm/agent/config.ts'
import { resolveConfig } from '@layerswarm/core/config/load.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { FakeRegistry, type FakeRegistryOptions } from '@layerswarm/testkit/fake-registry.ts'
import { ForwardProxy } from '@layerswarm/testkit/forward-proxy.ts'
import { REPOSITORY } from './support.ts'

const LAYER = Buffer.from('the layer')
const CONFIG = Buffer.from('{}')
const base64 = (text: string) => Buffer.from(text).toString('base64')

/** Nothing listens there. */
const NOBODY = '127.0.0.1:1'

/** Everything that is nobody's business, plain and as it travels. */
const SECRETS = {
  password: 'pass-of-sam',
  basic: base64('sam:pass-of-sam'),
  wrong: 'wrong-of-sam',
  wrongBasic: base64('sam:wrong-of-sam'),
  refresh: 'refresh-of-sam',
  helper: 'helper-of-sam',
  proxy: 'proxy-of-sam',
  proxyBasic: base64('sam:proxy-of-sam'),
  signature: 'signature='
}

/** The agent as users run it, its log at its most talkative, before registries of every kind. */
suite('secrets', () => {
  const parts = new AsyncDisposableStack()
  const told: string[] = []
  let agent: RunningAgent
  let good: FakeRegistry
  let bad: FakeRegistry
  let refreshed: FakeRegistry
  let helped: FakeRegistry
  let proxied: string

  async function registry(options: FakeRegistryOptions): Promise<FakeRegistry> {
    const registry = parts.use(await FakeRegistry.start(options))
    const [layer, config] = [await registry.putBlob(REPOSITORY, LAYER), await registry.putBlob(REPOSITORY, CONFIG)]
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: CONFIG.byteLength },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer, size: LAYER.byteLength }]
    }
    registry.putManifest(REPOSITORY, 'v1', Buffer.from(JSON.stringify(manifest)), MEDIA_TYPES.ociManifest)
    registry.fault({ kind: 'blob', fault: { redirect: {} } })
    return registry
  }

  before(async () => {
    const dir = await mkdtemp(join(tmpdir(), 'layerswarm-secrets-'))
    parts.defer(() => rm(dir, { recursive: true, force: true }))
    good = await registry({ access: { type: 'bearer', username: 'sam', password: SECRETS.password } })
    bad = await registry({ access: { type: 'basic', username: 'sam', password: SECRETS.password } })
    refreshed = await registry({ access: { type: 'bearer', username: 'sam', password: 'x', identityToken: SECRETS.refresh } })
    helped = await registry({ access: { type: 'basic', username: 'sam', password: SECRETS.helper } })
    const proxy = parts.use(await ForwardProxy.start({ authorization: 'Basic another' }))
    proxied = 'registry.test:5000'

    const helper = join(dir, 'bin', 'docker-credential-broken')
    await mkdir(join(dir, 'bin'))
    await writeFile(helper, `#!/bin/sh\necho '{"Username":"sam","Secret":"${SECRETS.helper}"'\necho ${SECRETS.helper} >&2\n`)
    await chmod(helper, 0o755)
    const registryAuth = join(dir, 'auth.json')
    const auths = {
      [good.host]: { auth: SECRETS.basic },
      [bad.host]: { auth: SECRETS.wrongBasic },
      [refreshed.host]: { identitytoken: SECRETS.refresh }
    }
    await writeFile(registryAuth, JSON.stringify({ auths, credHelpers: { [helped.host]: 'broken' } }))
    await mkdir(join(dir, 'certs', NOBODY), { recursive: true })
    await writeFile(join(dir, 'certs', NOBODY, 'hosts.toml'), `ca = "${SECRETS.password}`)
    setVariable('PATH', `${join(dir, 'bin')}:${process.env.PATH}`)
    setVariable('HTTP_PROXY', `http://sam:${SECRETS.proxy}@${proxy.host}`)

    const destination = new Writable({
      write(chunk, _, done) {
        told.push(String(chunk))
        done()
      }
    })
    const listen = '127.0.0.1:0'
    const insecureRegistry = [good, bad, refreshed, helped].map(({ host }) => host).concat(proxied)
    const listens = { mirrorListen: listen, adminListen: listen, p2pListen: listen }
    const certsDir = [join(dir, 'certs')]
    const flags = {
      dataDir: join(dir, 'data'),
      ...listens,
      registry: [NOBODY],
      insecureRegistry,
      registryAuth,
      certsDir,
      containerdAddress: 'none'
    }
    agent = parts.use(
      await startAgent(resolveConfig(agentOptions, { flags }).config, { log: createLogger({ level: 'trace', destination }) })
    )
  })

  after(() => parts.disposeAsync())

  function setVariable(name: string, value: string): void {
    const old = process.env[name]
    process.env[name] = value
    parts.defer(() => {
      if (old === undefined) delete process.env[name]
      else process.env[name] = old
    })
  }

  async function get(url: string): Promise<{ status: number; body: string }> {
    const answer = await fetch(url)
    const body = await answer.text()
    told.push(`${answer.status} ${JSON.stringify([...answer.headers])} ${body}`)
    return { status: answer.status, body }
  }

  const ask = (host: string, path: string) => get(`${agent.mirrorUrl}/v2/${REPOSITORY}/${path}?ns=${host}`)

  async function askForAll(host: string, fails: boolean): Promise<void> {
    const manifest = await ask(host, 'manifests/v1')
    assert.equal(manifest.status !== 200, fails, `${manifest.status} ${manifest.body}`)
    if (fails) return
    const { layers } = JSON.parse(manifest.body) as { layers: { digest: string }[] }
    assert.equal((await ask(host, `blobs/${layers[0]?.digest}`)).body, LAYER.toString())
  }

  test('a client of a private registry that refuses this host is sent there with a miss', async () => {
    assert.equal((await ask(bad.host, 'manifests/v1')).status, 404)
    assert.equal((await ask(helped.host, 'manifests/v1')).status, 404)
  })

  test('nothing secret is in the log, in answers, in metrics or in the status, whatever fails', async () => {
    await askForAll(good.host, false)
    await askForAll(refreshed.host, false)
    for (const host of [bad.host, helped.host, proxied, NOBODY]) await askForAll(host, true)
    refreshed.revokeTokens()
    refreshed.fault({ kind: 'token', fault: { status: 500 } })
    await ask(refreshed.host, 'tags/list')
    good.revokeTokens()
    good.fault({ kind: 'token', fault: { garbage: true } })
    await ask(good.host, 'tags/list')
    await get(`${agent.adminUrl}/metrics`)
    await get(`${agent.adminUrl}/v1/status`)

    const sent = [good, bad, refreshed, helped].flatMap((registry) =>
      registry.log.requests().flatMap(({ headers }) => headers.authorization?.toString().replace(/^\w+ /, '') ?? [])
    )
    assert.ok(sent.length >= 4)
    const all = told.join('\n')
    for (const host of [good.host, bad.host, refreshed.host, helped.host, proxied]) assert.ok(all.includes(host), `${host} was asked`)
    assert.match(all, /docker-credential-broken did not answer with JSON/)
    assert.match(all, /answered 407/)
    assert.match(all, /hosts\.toml.*file is not used/)
    for (const secret of [...Object.values(SECRETS), ...sent]) {
      assert.ok(!all.includes(secret), `${secret} in ${told.find((text) => text.includes(secret))}`)
    }
  })
})
