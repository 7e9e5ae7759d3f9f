import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { withEmptyMirrors, withoutRegistryMirror, withRegistryMirror } from '../../src/runtime/daemon-json.ts'

const URL = 'http://127.0.0.1:5050'
const PATH = '/etc/docker/daemon.json'

describe('the mirror is put first and all other text stays', () => {
  for (const [what, base, expected] of [
    ['no file', undefined, `{\n  "registry-mirrors": ["${URL}"]\n}\n`],
    ['an empty file', '\n', `{\n  "registry-mirrors": ["${URL}"]\n}\n`],
    ['an empty object', '{ }\n', `{\n  "registry-mirrors": ["${URL}"]\n}\n`],
    ['one line', '{"debug": true}', `{"debug": true, "registry-mirrors": ["${URL}"]}`.replace('true, ', 'true, ')],
    [
      'many lines',
      '{\n\t"debug": true,\n\t"hosts": ["a", "b"]\n}\n',
      `{\n\t"debug": true,\n\t"hosts": ["a", "b"],\n\t"registry-mirrors": ["${URL}"]\n}\n`
    ],
    ['an empty list', '{"registry-mirrors": [ ]}', `{"registry-mirrors": ["${URL}"]}`],
    ['a list in one line', '{"registry-mirrors": ["https://a"], "x": 1}', `{"registry-mirrors": ["${URL}", "https://a"], "x": 1}`],
    [
      'a list over lines',
      '{\n  "registry-mirrors": [\n    "https://a"\n  ]\n}\n',
      `{\n  "registry-mirrors": [\n    "${URL}",\n    "https://a"\n  ]\n}\n`
    ],
    [
      'texts with braces, and the same key deeper down',
      '{"a": "}\\"]", "b": {"registry-mirrors": ["x"]}}',
      `{"a": "}\\"]", "b": {"registry-mirrors": ["x"]}, "registry-mirrors": ["${URL}"]}`
    ]
  ] as const) {
    it(what, () => {
      const text = withRegistryMirror(PATH, base, URL)
      assert.equal(text, expected)
      JSON.parse(String(text))
    })
  }

  it('is there already', () => {
    assert.equal(withRegistryMirror(PATH, `{"registry-mirrors": ["https://a", "${URL}/"]}`, URL), undefined)
  })

  for (const [base, problem] of [
    ['{"a": 1,}', /not valid JSON/],
    ['[]', /not valid JSON/],
    ['{"registry-mirrors": "https://a"}', /not a list/]
  ] as const) {
    it(`not into ${base}`, () => {
      const result = withRegistryMirror(PATH, base, URL)
      assert.ok(typeof result === 'object')
      assert.match(result.problem, problem)
    })
  }
})

it('an empty list, for a dockerd that would keep its mirrors without one', () => {
  assert.equal(withEmptyMirrors('{"debug": true}'), '{"debug": true, "registry-mirrors": []}')
  assert.equal(withEmptyMirrors(undefined), '{"registry-mirrors": []}\n')
  assert.equal(withEmptyMirrors('{"registry-mirrors": ["https://a"]}'), undefined)
})

describe('taking it out of a file that was edited', () => {
  it('removes the key with its last mirror', () => {
    assert.equal(withoutRegistryMirror(`{\n  "debug": true,\n  "registry-mirrors": ["${URL}"]\n}\n`, [URL]), '{\n  "debug": true\n}\n')
    assert.equal(withoutRegistryMirror(`{"registry-mirrors": ["${URL}"], "x": 1}`, [URL]), '{"x": 1}')
  })

  it('leaves nothing where nothing else was', () => {
    assert.equal(withoutRegistryMirror(`{"registry-mirrors": ["${URL}"]}`, [URL]), undefined)
  })

  it('keeps other mirrors', () => {
    assert.equal(withoutRegistryMirror(`{"registry-mirrors": ["${URL}/", "https://a"]}`, [URL]), '{"registry-mirrors": ["https://a"]}')
    assert.equal(withoutRegistryMirror(`{"registry-mirrors": ["https://a", "${URL}"]}`, [URL]), '{"registry-mirrors": ["https://a"]}')
  })

  it('keeps a file that it cannot read', () => {
    assert.equal(withoutRegistryMirror('{', [URL]), '{')
  })
})

it('for any settings, written in any form: only the mirror comes, and goes again', () => {
  const key = fc.constantFrom('debug', 'hosts', 'log-opts', 'registry-mirrors', 'a "b" {c}')
  const value = fc.oneof(fc.boolean(), fc.string(), fc.array(fc.string()), fc.dictionary(fc.string(), fc.jsonValue()))
  const settings = fc
    .dictionary(key, value)
    .map((all) => ('registry-mirrors' in all ? { ...all, 'registry-mirrors': ['https://a', 'https://b'] } : all))
  fc.assert(
    fc.property(settings, fc.constantFrom(undefined, 2, '\t'), (before, indent) => {
      const text = JSON.stringify(before, null, indent)
      const after = String(withRegistryMirror(PATH, text, URL))
      const mirrors = 'registry-mirrors' in before ? ['https://a', 'https://b'] : []
      assert.deepEqual(JSON.parse(after), JSON.parse(JSON.stringify({ ...before, 'registry-mirrors': [URL, ...mirrors] })))
      const back = withoutRegistryMirror(after, [URL])
      if (Object.keys(before).length === 0) assert.equal(back, undefined)
      else assert.equal(back, text)
    }),
    { seed: 7 }
  )
})
