import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Credential } from '@layerswarm/agent/registry/credentials.ts'
import { digestOf } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import type { AccessRule } from '@layerswarm/testkit/fake-registry/access.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { assertBytes, assertCode, Bench, bytesOf } from './support.ts'

const BYTES = new SeededRandom('auth').bytes(10_000)
const BEARER = { type: 'bearer' } as const
const PASSWORD = { kind: 'password', username: 'sam', password: 'pass:word' } as const

function open(access: AccessRule, credential?: Credential): Promise<Bench> {
  const credentials = { find: async (registry: string) => (registry.startsWith('127.0.0.1:') ? credential : undefined) }
  return Bench.open(BYTES, { registry: { access }, credentials })
}

suite('tokens', () => {
  test('one is fetched for all who wait, and used until 90 % of its life are over', async () => {
    await using bench = await open({ ...BEARER, expiresIn: 100 })
    await Promise.all(Array.from({ length: 5 }, async () => assertBytes(await bytesOf(bench.client.content(bench.blob)), BYTES)))
    bench.under.clock.advance(89_999)
    await bench.client.resolve(bench.blob)
    assert.equal(bench.registry.log.count({ kind: 'token' }), 1)
    bench.under.clock.advance(2)
    await bench.client.resolve(bench.blob)
    assert.equal(bench.registry.log.count({ kind: 'token' }), 2)
    // Once known, nothing is asked without a token.
    assert.equal(bench.under.statuses.filter((status) => status === 401).length, 5)
  })

  test('one without a lifetime counts for a minute', async () => {
    await using bench = await open({ ...BEARER, field: 'access_token' })
    await bench.client.resolve(bench.blob)
    bench.under.clock.advance(54_001)
    await bench.client.resolve(bench.blob)
    assert.equal(bench.registry.log.count({ kind: 'token' }), 2)
  })

  test('the scope of the repository is asked for even where the challenge has none', async () => {
    await using bench = await open({ ...BEARER, noScope: true })
    await bench.client.resolve(bench.blob)
    assert.equal(bench.registry.log.requests({ kind: 'token' })[0]?.query, 'service=fake-registry&scope=repository%3Ateam%2Fapp%3Apull')
  })

  test('one that was revoked is replaced once', async () => {
    await using bench = await open(BEARER)
    await bench.client.resolve(bench.blob)
    bench.registry.revokeTokens()
    await bench.client.resolve(bench.blob)
    assert.equal(bench.registry.log.count({ kind: 'token' }), 2)
  })

  test('a registry that refuses fresh tokens has refused access', async () => {
    await using bench = await open(BEARER)
    bench.registry.fault({ kind: 'blob', fault: { status: 401, headers: { 'www-authenticate': challengeOf(bench) } } })
    await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_DENIED')
    assert.equal(bench.registry.log.count({ kind: 'blob' }), 2)
    assert.equal(bench.registry.log.count({ kind: 'token' }), 1)
  })

  test('a 401 without a challenge is understood with the one of the root', async () => {
    await using bench = await open(BEARER)
    bench.registry.fault({ kind: 'blob', times: 1, fault: { status: 401 } })
    await bench.client.resolve(bench.blob)
    assert.equal(bench.registry.log.count({ kind: 'ping' }), 1)
    assert.equal(bench.registry.log.count({ kind: 'token' }), 1)
  })

  test('a token server that fails is asked again, one that refuses is not', async () => {
    await using bench = await open(BEARER)
    bench.registry.fault({ kind: 'token', times: 1, fault: { status: 502 } })
    await bench.client.resolve(bench.blob)
    bench.registry.revokeTokens()
    bench.registry.fault({ kind: 'token', times: 1, fault: { status: 403 } })
    await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_DENIED')
    bench.registry.fault({ kind: 'token', times: 1, fault: { status: 404 } })
    await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_FAILED')
    bench.registry.fault({ kind: 'token', times: 1, fault: { status: 429, headers: { 'retry-after': '9' } } })
    await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_BUSY')
  })

  test('an answer of the token server that is too long, no JSON, or no token is a failure', async () => {
    await using bench = await open({ ...BEARER, answer: `{"token":"${'x'.repeat(1024 * 1024)}"}` })
    await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_FAILED')
    for (const answer of ['nothing', 'null', '{"token":""}', '{"token":"a\\r\\nb"}', '{"token":7}']) {
      await using other = await open({ ...BEARER, answer })
      await assertCode(other.client.resolve(other.blob), 'REGISTRY_FAILED')
    }
  })

  test('who goes away does not take the token from the others', async () => {
    await using bench = await open(BEARER)
    const { promise, resolve } = Promise.withResolvers<void>()
    bench.registry.fault({ kind: 'token', fault: { hold: promise } })
    const stop = new AbortController()
    const first = bench.client.resolve(bench.blob, { signal: stop.signal })
    await bench.registry.log.seen({ kind: 'token' })
    const second = bench.client.resolve(bench.blob)
    const reason = new Error('enough')
    stop.abort(reason)
    await assert.rejects(first, (error) => error === reason)
    resolve()
    await second
    assert.equal(bench.registry.log.count({ kind: 'token' }), 1)
  })

  for (const realm of ['ftp://example.com/token', 'http://sam:pass@127.0.0.1/token', '/token', '']) {
    test(`a token server at ${JSON.stringify(realm)} is not asked`, async () => {
      await using bench = await open(BEARER, PASSWORD)
      bench.registry.fault({ kind: 'blob', fault: { status: 401, headers: { 'www-authenticate': `Bearer realm="${realm}"` } } })
      await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_DENIED')
    })
  }
})

suite('a token server that has moved', () => {
  /** Redirects token requests once: to the same server, at the same origin or under another name of it. */
  function move(bench: Bench, elsewhere: boolean, status: number): void {
    const host = elsewhere ? bench.registry.otherHost.replace('127.0.0.1', 'localhost') : bench.registry.otherHost
    bench.registry.fault({
      kind: 'token',
      times: 1,
      fault: { status, headers: { location: `http://${host}/token?moved&scope=repository:team/app:pull` } }
    })
  }

  for (const status of [301, 302, 307, 308]) {
    test(`${status}: the password goes along within the origin`, async () => {
      await using bench = await open({ ...BEARER, username: PASSWORD.username, password: PASSWORD.password }, PASSWORD)
      move(bench, false, status)
      await bench.client.resolve(bench.blob)
      assert.deepEqual(
        bench.registry.log.requests({ kind: 'token' }).map(({ headers }) => headers.authorization !== undefined),
        [true, true]
      )
    })
  }

  test('the password stays behind when it is another origin', async () => {
    await using bench = await open({ ...BEARER, username: PASSWORD.username, password: PASSWORD.password }, PASSWORD)
    move(bench, true, 307)
    await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_DENIED')
    const [, second] = bench.registry.log.requests({ kind: 'token' })
    assert.match(second?.query ?? '', /^moved/)
    assert.equal(second?.headers.authorization, undefined)
  })

  test('whoever needs no password is served by another origin, too', async () => {
    await using bench = await open(BEARER)
    move(bench, true, 307)
    await bench.client.resolve(bench.blob)
  })

  test('a refresh token is posted again within the origin, and nowhere else', async () => {
    const access = { ...BEARER, username: 'sam', password: 'x', identityToken: 'refresh me' }
    await using bench = await open(access, { kind: 'identity', token: 'refresh me' })
    move(bench, false, 307)
    await bench.client.resolve(bench.blob)
    bench.registry.revokeTokens()
    move(bench, true, 307)
    await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_DENIED')
    assert.equal(bench.registry.log.count({ kind: 'token' }), 3)
  })

  test('moving without end is a failure', async () => {
    await using bench = await open(BEARER)
    bench.registry.fault({ kind: 'token', fault: { status: 307, headers: { location: '/token' } } })
    await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_FAILED')
    assert.equal(bench.registry.log.count({ kind: 'token' }), 6)
  })
})

suite('credentials', () => {
  test('a password goes to the token server', async () => {
    await using bench = await open({ ...BEARER, username: PASSWORD.username, password: PASSWORD.password }, PASSWORD)
    assertBytes(await bytesOf(bench.client.content(bench.blob)), BYTES)
    assert.match(bench.registry.log.requests({ kind: 'token' })[0]?.query ?? '', /&account=sam$/)
  })

  test('a wrong password is access refused', async () => {
    await using bench = await open({ ...BEARER, username: 'sam', password: 'other' }, PASSWORD)
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_DENIED')
    assert.equal(bench.registry.log.count({ kind: 'token' }), 1)
  })

  test('a refresh token is posted', async () => {
    await using bench = await open(
      { ...BEARER, username: 'sam', password: 'x', identityToken: 'refresh me' },
      { kind: 'identity', token: 'refresh me' }
    )
    assertBytes(await bytesOf(bench.client.content(bench.blob)), BYTES)
    assert.equal(bench.registry.log.requests({ kind: 'token' })[0]?.method, 'POST')
  })

  test('an access token is sent as it is', async () => {
    await using bench = await open({ ...BEARER, username: 'sam', password: 'x' }, { kind: 'access', token: 'abc' })
    await assertCode(bench.client.content(bench.blob), 'REGISTRY_DENIED')
    assert.equal(bench.registry.log.requests({ kind: 'blob' }).at(-1)?.headers.authorization, 'Bearer abc')
    assert.equal(bench.registry.log.count({ kind: 'token' }), 0)
  })

  test('Basic: sent once asked for, then at once', async () => {
    await using bench = await open({ type: 'basic', username: PASSWORD.username, password: PASSWORD.password }, PASSWORD)
    await bench.client.resolve(bench.blob)
    await bench.client.resolve(bench.blob)
    assert.deepEqual(bench.under.statuses, [401, 200, 200])
  })

  test('Basic without or with the wrong password is access refused', async () => {
    for (const credential of [undefined, { ...PASSWORD, password: 'other' }]) {
      await using bench = await open({ type: 'basic', username: PASSWORD.username, password: PASSWORD.password }, credential)
      await assertCode(bench.client.resolve(bench.blob), 'REGISTRY_DENIED')
      assert.ok(bench.registry.log.count() <= 2)
    }
  })

  test('nothing secret reaches a log line or an error', async () => {
    const secrets: string[] = [PASSWORD.password, Buffer.from(`sam:${PASSWORD.password}`).toString('base64'), 'signature', 'account']
    await using bench = await open({ ...BEARER, username: PASSWORD.username, password: PASSWORD.password }, PASSWORD)
    bench.registry.fault({ kind: 'blob', method: 'GET', fault: { redirect: { uses: 0 } } })
    const missing = { ...bench.blob, digest: digestOf(Buffer.from('missing')) }
    const errors: unknown[] = []
    for (const ref of [bench.blob, missing]) await bytesOf(bench.client.content(ref)).catch((error) => errors.push(error))
    await bench.registry.stop()
    await bench.client.resolve(bench.blob).catch((error) => errors.push(error))
    assert.equal(errors.length, 3)
    secrets.push(...bench.registry.log.requests({ kind: 'blob' }).flatMap(({ headers }) => headers.authorization ?? []))
    assert.ok(secrets.length > 4)
    const told = [...bench.under.lines, ...errors.flatMap((error) => [describeError(error), JSON.stringify(error)])].join('\n')
    for (const secret of secrets) assert.ok(!told.includes(secret.replace('Bearer ', '')), `${secret} is told in ${told}`)
  })
})

function challengeOf(bench: Bench): string {
  return `Bearer realm="http://${bench.registry.otherHost}/token",service="fake-registry",error="invalid_token"`
}
