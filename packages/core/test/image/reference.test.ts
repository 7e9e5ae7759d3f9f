import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatReference, isRegistryHost, isRepositoryName, parseReference } from '../../src/image/reference.ts'

const D = `sha256:${'a'.repeat(64)}`

describe('image references and their full form', () => {
  for (const [text, full] of [
    ['nginx', 'docker.io/library/nginx:latest'],
    ['nginx:1.25', 'docker.io/library/nginx:1.25'],
    ['team/app', 'docker.io/team/app:latest'],
    ['docker.io/nginx', 'docker.io/library/nginx:latest'],
    ['index.docker.io/library/nginx', 'docker.io/library/nginx:latest'],
    ['docker.io/team/app:1', 'docker.io/team/app:1'],
    [`nginx@${D}`, `docker.io/library/nginx@${D}`],
    [`nginx:1@${D}`, `docker.io/library/nginx:1@${D}`],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app', 'localhost:5000/app:latest'],
    ['127.0.0.1:5000/a/b/c:x', '127.0.0.1:5000/a/b/c:x'],
    ['[::1]:5000/app:1', '[::1]:5000/app:1'],
    ['Registry.Example.com/app', 'registry.example.com/app:latest'],
    ['quay.io/a_b/c__d/e-f.g:V1_2.3-x', 'quay.io/a_b/c__d/e-f.g:V1_2.3-x']
  ] as const) {
    test(text, () => {
      assert.equal(formatReference(parseReference(text)), full)
      assert.deepEqual(parseReference(full), parseReference(text))
    })
  }
})

describe('what is no reference', () => {
  for (const text of [
    '',
    ' ',
    'App',
    'a//b',
    '/a',
    'a/',
    'a:',
    'a:b:c',
    'a:-x',
    'a..b',
    '../a',
    'http://quay.io/a',
    'quay.io/',
    'a b',
    `a:${'t'.repeat(129)}`,
    'a'.repeat(256)
  ]) {
    test(JSON.stringify(text.slice(0, 30)), () => assert.throws(() => parseReference(text), { code: 'REFERENCE_INVALID' }))
  }
  test('a digest that is none', () => assert.throws(() => parseReference('a@sha256:1'), { code: 'DIGEST_INVALID' }))
})

test('hosts are hosts with or without a port, in lower case', () => {
  for (const host of ['a', 'a.b', 'a-b.c:1', '127.0.0.1:65535', '[::1]', '[fe80::1]:5000']) assert.ok(isRegistryHost(host), host)
  for (const host of ['', 'A', 'a_b', '-a', 'a.', 'a:', 'a:b', 'a/b', 'u@h', '::1', 'a\nb', `${'a'.repeat(300)}`]) {
    assert.ok(!isRegistryHost(host), host)
  }
})

test('a long hostile name is refused quickly', () => {
  const started = performance.now()
  assert.ok(!isRepositoryName(`${'a-'.repeat(120)}!`))
  assert.ok(!isRepositoryName(`${'a'.repeat(1_000_000)}!`))
  assert.ok(performance.now() - started < 100)
})
