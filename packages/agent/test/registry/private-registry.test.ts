// needs: docker-registry nginx openssl
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, suite, test } from 'node:test'
import type { Credential } from '@layerswarm/agent/registry/credentials.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { DockerRegistry } from '@layerswarm/testkit/docker-registry.ts'
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'
import { JwtTokenServer } from '@layerswarm/testkit/jwt-token-server.ts'
import { Nginx } from '@layerswarm/testkit/nginx.ts'
import { buildImage, type TestImage } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { type IssuedCertificate, TestAuthority } from '@layerswarm/testkit/test-authority.ts'
import { assertBytes, assertCode, bytesOf, ClientUnderTest, REPOSITORY } from './support.ts'

const PASSWORD = { kind: 'password', username: 'sam', password: 'pass:word' } as const
/** bcrypt of that password, the only kind that docker-registry takes. */
const HTPASSWD = 'sam:$2y$05$abcdefghijklmnopqrstuuDIEddBSuRWBBEY6g5zv60IAP5bSSfki\n'

let dir: string
let authority: TestAuthority

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'layerswarm-private-'))
  authority = await TestAuthority.create()
})

after(async () => {
  await authority?.[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})

function client(host: string, options: { credential?: Credential; certsDirs?: readonly string[]; insecure?: boolean }): ClientUnderTest {
  const { credential, certsDirs = [], insecure = false } = options
  return new ClientUnderTest(host, { registries: new Map([[host, { insecure }]]), certsDirs }, { find: async () => credential })
}

async function assertPulls({ client }: ClientUnderTest, host: string, image: TestImage): Promise<void> {
  const at = { registry: host, repository: REPOSITORY }
  assert.equal((await client.resolve({ ...at, tag: 'v1' })).digest, image.root.digest)
  for (const { digest, size } of image.layers) {
    assert.equal((await bytesOf(client.content({ ...at, digest, kind: 'blob' }, { start: 0, end: size }))).byteLength, size)
  }
}

suite('docker-registry with passwords', () => {
  test('the right one is served, a wrong one and none are refused', async () => {
    const path = join(dir, 'htpasswd')
    await writeFile(path, HTPASSWD)
    await using registry = await DockerRegistry.start({ auth: { htpasswd: { realm: 'test', path } } })
    const image = await buildImage({ layers: [{ seed: 'htpasswd', size: 10_000 }] })
    const authorization = `Basic ${Buffer.from(`${PASSWORD.username}:${PASSWORD.password}`).toString('base64')}`
    await pushImage(image, registry.url, REPOSITORY, 'v1', { authorization })
    await using right = client(registry.host, { credential: PASSWORD, insecure: true })
    await assertPulls(right, registry.host, image)
    for (const credential of [{ ...PASSWORD, password: 'wrong' }, undefined]) {
      await using other = client(registry.host, { insecure: true, ...(credential && { credential }) })
      await assertCode(other.client.resolve({ registry: registry.host, repository: REPOSITORY, tag: 'v1' }), 'REGISTRY_DENIED')
    }
  })
})

suite('docker-registry with a token server', () => {
  test('the right password is served with one token, a wrong one and none are refused', async () => {
    const signer = await authority.issue('token signer')
    await using tokens = await JwtTokenServer.start({ ...PASSWORD, signer })
    await using registry = await DockerRegistry.start({ auth: tokens.registryAuth(join(authority.dir, 'ca.crt')) })
    await using right = client(registry.host, { credential: PASSWORD, insecure: true })
    const image = await buildImage({ layers: [{ seed: 'tokens', size: 10_000 }] })
    const authorization = `Bearer ${tokens.tokenFor([`repository:${REPOSITORY}:pull,push`])}`
    await pushImage(image, registry.url, REPOSITORY, 'v1', { authorization })
    await assertPulls(right, registry.host, image)
    assert.equal(tokens.issued, 1)
    const tag = { registry: registry.host, repository: REPOSITORY, tag: 'v1' }
    for (const credential of [{ ...PASSWORD, password: 'wrong' }, undefined]) {
      await using other = client(registry.host, { insecure: true, ...(credential && { credential }) })
      await assertCode(other.client.resolve(tag), 'REGISTRY_DENIED')
    }
  })
})

suite('docker-registry behind nginx with a private authority and client certificates', () => {
  let registry: DockerRegistry
  let nginx: Nginx
  let image: TestImage
  let mine: IssuedCertificate
  let stranger: TestAuthority
  let certs: string

  before(async () => {
    registry = await DockerRegistry.start()
    image = await buildImage({ layers: [{ seed: 'nginx', size: 300_000 }] })
    await pushImage(image, registry.url, REPOSITORY, 'v1')
    mine = await authority.issue('host-1')
    stranger = await TestAuthority.create()
    const server = await authority.issue('127.0.0.1')
    nginx = await Nginx.start({
      files: { 'server.crt': server.cert, 'server.key': server.key, 'ca.crt': authority.cert },
      server: [
        'ssl_certificate server.crt;',
        'ssl_certificate_key server.key;',
        'ssl_client_certificate ca.crt;',
        'ssl_verify_client on;',
        `location / { proxy_pass ${registry.url}; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https; }`
      ]
    })
  })

  after(async () => {
    await nginx?.[Symbol.asyncDispose]()
    await registry?.[Symbol.asyncDispose]()
    await stranger?.[Symbol.asyncDispose]()
  })

  beforeEach(async () => {
    certs = await mkdtemp(join(dir, 'certs-'))
  })

  /** Files of the registry's folder, whose name is made of host and port. */
  async function write(files: Readonly<Record<string, string>>, name = nginx.host): Promise<void> {
    await mkdir(join(certs, name), { recursive: true })
    for (const [file, content] of Object.entries(files)) await writeFile(join(certs, name, file), content)
  }

  const open = () => client(nginx.host, { certsDirs: [join(dir, 'nowhere'), certs] })
  const resolve = ({ client }: ClientUnderTest) => client.resolve({ registry: nginx.host, repository: REPOSITORY, tag: 'v1' })

  test("containers' layout", async () => {
    await write({ 'ca.crt': authority.cert, 'client.cert': mine.cert, 'client.key': mine.key })
    await using under = open()
    await assertPulls(under, nginx.host, image)
    assert.deepEqual(
      under.lines.filter((line) => line.includes('not used')),
      []
    )
  })

  test("docker's layout, several authorities, the key in the certificate's file", async () => {
    await write({ 'a.crt': stranger.cert, 'b.crt': authority.cert, 'me.cert': mine.cert + mine.key })
    await using under = open()
    await assertPulls(under, nginx.host, image)
  })

  test("containerd's hosts.toml, in a folder named its way", async () => {
    const toml = `server = "https://${nginx.host}"\nca = "ca.pem"\nclient = [["me.pem", "me-key.pem"]]\n[host."http://127.0.0.1:5050"]\ncapabilities = ["pull"]\n`
    await write(
      { 'hosts.toml': toml, 'ca.pem': authority.cert, 'me.pem': mine.cert, 'me-key.pem': mine.key },
      nginx.host.replace(/:(\d+)$/, '_$1_')
    )
    await using under = open()
    await assertPulls(under, nginx.host, image)
  })

  test('skip_verify', async () => {
    await write({ 'hosts.toml': `[host."https://${nginx.host}"]\nskip_verify = true\nclient = "me.pem"\n`, 'me.pem': mine.cert + mine.key })
    await using under = open()
    await assertPulls(under, nginx.host, image)
  })

  test('nobody vouches: out of reach, with what to do', async () => {
    for (const files of [{}, { 'ca.crt': stranger.cert }]) {
      await write(files)
      await using under = open()
      await assert.rejects(resolve(under), { code: 'REGISTRY_UNREACHABLE', message: /certs\.d\/127\.0\.0\.1:\d+\/ca\.crt/ })
    }
  })

  test('no client certificate, or one of somebody else: refused by the registry', async () => {
    await write({ 'ca.crt': authority.cert })
    await using without = open()
    await assertCode(resolve(without), 'REGISTRY_FAILED')
    const other = await stranger.issue('host-1')
    await write({ 'client.cert': other.cert, 'client.key': other.key })
    await using wrong = open()
    await assertCode(resolve(wrong), 'REGISTRY_FAILED')
  })

  test('what is renewed is used within ten seconds, by the same client', async () => {
    await write({ 'ca.crt': stranger.cert, 'client.cert': mine.cert, 'client.key': mine.key })
    await using under = open()
    await assertCode(resolve(under), 'REGISTRY_UNREACHABLE')
    await write({ 'ca.crt': authority.cert })
    await assertCode(resolve(under), 'REGISTRY_UNREACHABLE')
    under.clock.advance(10_000)
    await resolve(under)
    await rm(join(certs, nginx.host, 'client.cert'))
    under.clock.advance(10_000)
    await assertCode(resolve(under), 'REGISTRY_FAILED')
  })

  test('files that are no good are named, and their content is not', async () => {
    await write({ 'ca.crt': authority.cert, 'client.cert': mine.cert, 'client.key': mine.key.replace(/\n.{9}/, '\nAAAAAAAAA') })
    await using under = open()
    const error = await resolve(under).catch((error: unknown) => error)
    assert.match(describeError(error), /the certificates for 127\.0\.0\.1:\d+ are not usable/)
    const told = [describeError(error), ...under.lines].join('\n')
    assert.ok(!mine.key.split('\n').some((line) => line.length > 20 && !line.includes('-----') && told.includes(line)), told)

    await write({ 'hosts.toml': 'ca = [', 'client.key': mine.key })
    under.clock.advance(10_000)
    await resolve(under)
    under.clock.advance(10_000)
    await resolve(under)
    assert.equal(under.lines.filter((line) => line.includes('hosts.toml') && line.includes('not used')).length, 1)
  })
})

suite('where a registry sends us', () => {
  test('its authority is trusted there, but this host does not say who it is', async () => {
    const server = await authority.issue('127.0.0.1')
    const mine = await authority.issue('host-1')
    await using registry = await FakeRegistry.start({ tls: server, access: { type: 'bearer' } })
    registry.fault({ kind: 'blob', fault: { redirect: {} } })
    const bytes = Buffer.from('somewhere else')
    const digest = await registry.putBlob(REPOSITORY, bytes)
    const certs = await mkdtemp(join(dir, 'certs-'))
    await mkdir(join(certs, registry.host))
    for (const [name, pem] of Object.entries({ 'ca.crt': authority.cert, 'client.cert': mine.cert, 'client.key': mine.key })) {
      await writeFile(join(certs, registry.host, name), pem)
    }
    await using under = client(registry.host, { certsDirs: [certs] })
    assertBytes(await bytesOf(under.client.content({ registry: registry.host, repository: REPOSITORY, digest, kind: 'blob' })), bytes)
    const names = (kind: 'blob' | 'token' | 'stored') => registry.log.requests({ kind }).map(({ clientName }) => clientName)
    assert.deepEqual([names('blob'), names('token'), names('stored')], [['host-1', 'host-1'], [undefined], [undefined]])
  })

  test('leave not to verify counts for the registry alone', async () => {
    const server = await authority.issue('127.0.0.1')
    await using registry = await FakeRegistry.start({ tls: server })
    const digest = await registry.putBlob(REPOSITORY, Buffer.from('somewhere else'))
    const certs = await mkdtemp(join(dir, 'certs-'))
    await mkdir(join(certs, registry.host))
    await writeFile(join(certs, registry.host, 'hosts.toml'), 'skip_verify = true\n')
    await using under = client(registry.host, { certsDirs: [certs] })
    const blob = { registry: registry.host, repository: REPOSITORY, digest, kind: 'blob' } as const
    await bytesOf(under.client.content(blob))
    registry.fault({ kind: 'blob', fault: { redirect: {} } })
    await assertCode(under.client.content(blob), 'REGISTRY_UNREACHABLE')
    assert.equal(registry.log.count({ kind: 'stored' }), 0)
  })
})
