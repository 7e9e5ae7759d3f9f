import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { helperFor, parseAuthFile, serverKeys, storedFor } from '@layerswarm/agent/registry/auth-file.ts'
import { authPaths } from '@layerswarm/agent/registry/auth-paths.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')
const password = (user: string) => ({ kind: 'password', username: user, password: `${user}'s:secret` })
const entry = (user: string) => ({ auth: base64(`${user}:${user}'s:secret`) })

function find(file: object, registry: string, path = 'team/app') {
  return storedFor(parseAuthFile(JSON.stringify(file)).auths, registry, path)
}

suite('entries', () => {
  const table: [string, object, unknown][] = [
    ['the user ends at the first colon', entry('sam'), password('sam')],
    ['NULs are padding', { auth: base64("sam:sam's:secret\0\0") }, password('sam')],
    ['user and password may stand apart', { username: 'sam', password: "sam's:secret" }, password('sam')],
    ['an identity token wins over a password', { ...entry('sam'), identitytoken: 'refresh' }, { kind: 'identity', token: 'refresh' }],
    [
      'a registry token wins over all',
      { ...entry('sam'), registrytoken: 'bearer', identitytoken: 'x' },
      { kind: 'access', token: 'bearer' }
    ],
    ['docker leaves an empty entry for its helper', {}, undefined],
    ['no password', { auth: base64('sam:') }, undefined],
    ['no colon', { auth: base64('sam') }, undefined],
    ['no text', { auth: 7, identitytoken: null }, undefined],
    ['no object', [], undefined]
  ]
  for (const [name, value, want] of table) {
    test(name, () => assert.deepEqual(find({ auths: { 'r.example': value } }, 'r.example'), want))
  }

  test('what is broken beside an entry does not matter', () => {
    assert.deepEqual(find({ auths: { x: 'y', 'r.example': entry('sam') }, credHelpers: 7, credsStore: [] }, 'r.example'), password('sam'))
  })
})

suite('keys', () => {
  const table: [key: string, registry: string, path: string, found: boolean][] = [
    ['r.example', 'r.example', 'app', true],
    ['R.example', 'r.example', 'app', true],
    ['r.example', 'r.example:5000', 'app', false],
    ['r.example:5000', 'r.example:5000', 'app', true],
    ['r.example:5000', 'r.example', 'app', false],
    ['https://r.example', 'r.example', 'app', true],
    ['http://r.example:5000/v2/', 'r.example:5000', 'app', true],
    ['https://r.example/any/path', 'r.example', 'app', true],
    ['r.example/v1/', 'r.example', 'app', true],
    ['r.example/team', 'r.example', 'team/app', true],
    ['r.example/team/app', 'r.example', 'team/app', true],
    ['r.example/team', 'r.example', 'teams/app', false],
    ['r.example/team/app/deep', 'r.example', 'team/app', false],
    ['sub.r.example', 'r.example', 'app', false],
    ['https://index.docker.io/v1/', 'docker.io', 'library/app', true],
    ['docker.io', 'docker.io', 'library/app', true],
    ['index.docker.io', 'docker.io', 'library/app', true],
    ['registry-1.docker.io', 'docker.io', 'library/app', true],
    ['docker.io/library', 'docker.io', 'library/app', true],
    ['docker.io/library', 'docker.io', 'team/app', false],
    ['docker.io', 'r.example', 'app', false]
  ]
  for (const [key, registry, path, found] of table) {
    test(`${key} ${found ? 'is' : 'is not'} for ${registry}/${path}`, () => {
      assert.deepEqual(find({ auths: { [key]: entry('sam') } }, registry, path), found ? password('sam') : undefined)
    })
  }

  test('the longest path wins, the first spelling of equal ones', () => {
    const auths = {
      'r.example': entry('all'),
      'r.example/team': entry('team'),
      'r.example/team/app': entry('app'),
      'https://r.example': entry('no')
    }
    assert.deepEqual(find({ auths }, 'r.example', 'team/app'), password('app'))
    assert.deepEqual(find({ auths }, 'r.example', 'team/other'), password('team'))
    assert.deepEqual(find({ auths }, 'r.example', 'other'), password('all'))
  })
})

test("a registry's own helper comes before the one for all", () => {
  const file = parseAuthFile(
    JSON.stringify({ credHelpers: { 'r.example': 'own', 'https://index.docker.io/v1/': 'hub' }, credsStore: 'all' })
  )
  assert.deepEqual(helperFor(file, 'r.example'), ['own', 'all'])
  assert.deepEqual(helperFor(file, 'docker.io'), ['hub', 'all'])
  assert.deepEqual(helperFor(file, 'other.example'), ['all'])
  assert.deepEqual(helperFor(parseAuthFile('{"credsStore":""}'), 'r.example'), [])
})

test('helpers know Docker Hub by the address of its old index', () => {
  assert.deepEqual(serverKeys('docker.io'), ['https://index.docker.io/v1/', 'docker.io'])
  assert.deepEqual(serverKeys('r.example:5000'), ['r.example:5000'])
})

test('a file that is no JSON object says so without its content', () => {
  for (const text of ['{"auths":{"r.example":{"auth":"c2VjcmV0"', 'c2VjcmV0', '["c2VjcmV0"]', '']) {
    assert.throws(
      () => parseAuthFile(text),
      (error: Error) => !error.message.includes('c2VjcmV0') && error.cause === undefined
    )
  }
})

suite('files', () => {
  const home = '/home/sam'
  const docker = '/home/sam/.docker/config.json'

  test('the order is that of the tools', () => {
    const env = { REGISTRY_AUTH_FILE: '/a/auth.json', XDG_RUNTIME_DIR: '/run/user/7', DOCKER_CONFIG: '/d' }
    assert.deepEqual(authPaths({ env, home, uid: 7 }), ['/a/auth.json', '/run/user/7/containers/auth.json', '/d/config.json', docker])
  })

  test('a service without a session has podman log in under /run/containers', () => {
    assert.deepEqual(authPaths({ env: {}, home, uid: 0 }), ['/run/containers/0/auth.json', docker])
    assert.deepEqual(authPaths({ env: { REGISTRY_AUTH_FILE: '', DOCKER_CONFIG: '/home/sam/.docker' }, home, uid: undefined }), [docker])
  })
})
