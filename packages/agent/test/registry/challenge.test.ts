import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseChallenges } from '@layerswarm/agent/registry/challenge.ts'

const bearer = (parameters: Record<string, string>) => ({ scheme: 'bearer', parameters })

for (const [header, expected] of [
  [undefined, []],
  ['', []],
  ['Basic realm="r"', [{ scheme: 'basic', parameters: { realm: 'r' } }]],
  ['bEaReR Realm="https://a/t",SERVICE=s', [bearer({ realm: 'https://a/t', service: 's' })]],
  ['Bearer realm="https://a/t", scope="repository:a/b:pull,push"', [bearer({ realm: 'https://a/t', scope: 'repository:a/b:pull,push' })]],
  ['Bearer realm="a \\"quoted\\" one" , error = invalid_token', [bearer({ realm: 'a "quoted" one', error: 'invalid_token' })]],
  ['Negotiate', [{ scheme: 'negotiate', parameters: {} }]],
  [
    'Negotiate YWJj==, Basic realm="x, Bearer realm=y", Bearer realm="https://a/t"',
    [
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'basic', parameters: { realm: 'x, Bearer realm=y' } },
      bearer({ realm: 'https://a/t' })
    ]
  ],
  [
    ['Basic realm="r"', 'Bearer realm="https://a/t"'],
    [{ scheme: 'basic', parameters: { realm: 'r' } }, bearer({ realm: 'https://a/t' })]
  ],
  ['Bearer realm="first", realm="second"', [bearer({ realm: 'first' })]],
  ['=, "", Bearer realm="open', [bearer({})]],
  [',,, Bearer ,, service=s', [bearer({ service: 's' })]]
] as const) {
  test(`reads ${JSON.stringify(header)}`, () => {
    assert.deepEqual(parseChallenges(header), expected)
  })
}

test('a long hostile header is read in no time', () => {
  const start = performance.now()
  for (const part of ['a', '"', 'a=', 'a ', '=,', 'Bearer a="']) parseChallenges(part.repeat(5_000))
  assert.ok(performance.now() - start < 1_000)
})
