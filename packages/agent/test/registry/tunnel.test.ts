// needs: openssl
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { describeError, isLayerswarmError } from '@layerswarm/core/errors.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { ForwardProxy } from '@layerswarm/testkit/forward-proxy.ts'
import { TestAuthority } from '@layerswarm/testkit/test-authority.ts'
import { assertBytes, assertCode, bytesOf, ClientUnderTest, REPOSITORY } from './support.ts'

const USER = 'sam:p@ss:word'
const IN_URL = 'sam:p%40ss%3Aword'
const AUTHORIZATION = `Basic ${Buffer.from(USER).toString('base64')}`
const BYTES = Buffer.from('through a proxy')

suite('proxies', () => {
  let authority: TestAuthority
  let dir: string
  let registry: FakeRegistry
  let name: string
  const defaults = getCACertificates('default')

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'layerswarm-proxies-'))
    authority = await TestAuthority.create()
    // Trust as the system has it, which is what counts for proxies.
    setDefaultCACertificates([...defaults, authority.cert])
    registry = await FakeRegistry.start({ tls: await authority.issue('registry.test') })
    name = `registry.test:${registry.host.split(':')[1]}`
  })

  after(async () => {
    setDefaultCACertificates(defaults)
    await registry?.[Symbol.asyncDispose]()
    await authority?.[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })

  function open(env: Record<string, string>, options: { certsDirs?: string[]; connectTimeoutMs?: number } = {}): ClientUnderTest {
    return new ClientUnderTest(name, { registries: new Map([[name, { insecure: false }]]), env, ...options })
  }

  async function pull({ client }: Pick<ClientUnderTest, 'client'>, from = registry, as = name): Promise<Buffer> {
    const digest = await from.putBlob(REPOSITORY, BYTES)
    return await bytesOf(client.content({ registry: as, repository: REPOSITORY, digest, kind: 'blob' }))
  }

  test('HTTPS goes through a tunnel, which is kept', async () => {
    await using proxy = await ForwardProxy.start({ authorization: AUTHORIZATION })
    await using under = open({ HTTPS_PROXY: `http://${IN_URL}@${proxy.host}` })
    assertBytes(await pull(under), BYTES)
    // The client takes its connection back a turn after the body has ended.
    await registry.log.idle()
    await new Promise(setImmediate)
    assertBytes(await pull(under), BYTES)
    assert.deepEqual(proxy.asked, [`CONNECT ${name}`])
    assert.ok(registry.log.requests().every(({ headers }) => headers['proxy-authorization'] === undefined))
  })

  test('the proxy may itself be behind TLS', async () => {
    await using proxy = await ForwardProxy.start({ tls: await authority.issue('127.0.0.1') })
    await using under = open({ https_proxy: `https://${proxy.host}` })
    assertBytes(await pull(under), BYTES)
    assert.deepEqual(proxy.asked, [`CONNECT ${name}`])
  })

  test("a registry's own authorities and client certificate count through a proxy, too", async () => {
    await using other = await TestAuthority.create()
    await using hidden = await FakeRegistry.start({ tls: await other.issue('registry.test') })
    const as = `registry.test:${hidden.host.split(':')[1]}`
    const mine = await other.issue('host-1')
    await mkdir(join(dir, as))
    for (const [file, pem] of Object.entries({ 'ca.crt': other.cert, 'client.cert': mine.cert, 'client.key': mine.key })) {
      await writeFile(join(dir, as, file), pem)
    }
    await using proxy = await ForwardProxy.start()
    const env = { HTTPS_PROXY: `http://${proxy.host}` }
    await using under = new ClientUnderTest(as, { registries: new Map([[as, { insecure: false }]]), env, certsDirs: [dir] })
    assertBytes(await pull(under, hidden, as), BYTES)
    assert.equal(hidden.log.requests({ kind: 'blob' })[0]?.clientName, 'host-1')
  })

  test('plain HTTP is asked of the proxy by whole addresses', async () => {
    await using plain = await FakeRegistry.start({ access: { type: 'basic', username: 'sam', password: 'x' } })
    const as = `registry.test:${plain.host.split(':')[1]}`
    await using proxy = await ForwardProxy.start({ authorization: AUTHORIZATION })
    const credentials = { find: async () => ({ kind: 'password', username: 'sam', password: 'x' }) as const }
    await using under = new ClientUnderTest(as, { env: { HTTP_PROXY: `http://${IN_URL}@${proxy.host}` } }, credentials)
    assertBytes(await pull(under, plain, as), BYTES)
    assert.ok(proxy.asked.length > 0)
    assert.ok(proxy.asked.every((line) => line.startsWith(`GET http://${as}/v2/`)))
    assert.ok(plain.log.requests().every(({ headers }) => headers.host === as))
  })

  test('NO_PROXY and loopback are reached directly', async () => {
    await using proxy = await ForwardProxy.start()
    const env = { HTTPS_PROXY: `http://${proxy.host}`, HTTP_PROXY: `http://${proxy.host}` }
    await using under = open({ ...env, NO_PROXY: '.test' })
    await assertCode(pull(under), 'REGISTRY_UNREACHABLE')
    await using plain = await FakeRegistry.start()
    await using near = new ClientUnderTest(plain.host, { env })
    assertBytes(await pull(near, plain, plain.host), BYTES)
    assert.deepEqual(proxy.asked, [])
  })

  test('a proxy that wants another password is named, the password is not', async () => {
    await using proxy = await ForwardProxy.start({ authorization: AUTHORIZATION })
    const wrong = `http://sam:secret-word@${proxy.host}`
    await using plain = await FakeRegistry.start()
    const as = `registry.test:${plain.host.split(':')[1]}`
    await using secure = open({ HTTPS_PROXY: wrong })
    await using insecure = new ClientUnderTest(as, { env: { HTTP_PROXY: wrong } })
    const errors = [await pull(secure).catch((error) => error), await pull(insecure, plain, as).catch((error) => error)]
    for (const error of errors) {
      assert.ok(isLayerswarmError(error, 'REGISTRY_UNREACHABLE'))
      assert.ok(error.message.includes(`the proxy ${proxy.host} answered 407`), error.message)
    }
    const encoded = Buffer.from('sam:secret-word').toString('base64')
    const told = [...errors.flatMap((error) => [describeError(error), JSON.stringify(error)]), ...secure.lines, ...insecure.lines].join(
      '\n'
    )
    for (const secret of ['secret-word', encoded]) assert.ok(!told.includes(secret), told)
  })

  test('a proxy that is not there, hangs up, or never answers is out of reach', async () => {
    const proxy = await ForwardProxy.start()
    await using under = open({ HTTPS_PROXY: `http://${proxy.host}` }, { connectTimeoutMs: 20 })
    try {
      proxy.behave('hang up')
      await assertCode(pull(under), 'REGISTRY_UNREACHABLE')
      // What broke off may work the next time, and is tried again.
      assert.equal(proxy.asked.length, 3)
      proxy.behave('ignore')
      await assertCode(pull(under), 'REGISTRY_UNREACHABLE')
      assert.equal(proxy.asked.length, 6)
    } finally {
      await proxy[Symbol.asyncDispose]()
    }
    await assertCode(pull(under), 'REGISTRY_UNREACHABLE')
  })

  test('stopping does not wait for a proxy', async () => {
    await using proxy = await ForwardProxy.start()
    proxy.behave('ignore')
    const under = open({ HTTPS_PROXY: `http://${proxy.host}` })
    const pulling = assert.rejects(pull(under))
    await proxy.isAsked()
    await under[Symbol.asyncDispose]()
    await pulling
  })
})
