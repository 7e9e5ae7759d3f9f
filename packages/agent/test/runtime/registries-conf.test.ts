import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parse } from 'smol-toml'
import { mirrorConf, registryTables } from '../../src/runtime/registries-conf.ts'

const SETTINGS = { mirrorUrl: 'http://127.0.0.1:5050', onlyRegistries: false }
const MIRROR = { insecure: true }

function written(registries: readonly string[], ...texts: readonly string[]) {
  const tables = registryTables(texts.map((text, index) => ({ path: `${index}.conf`, text })))
  assert.ok(tables instanceof Map)
  const conf = mirrorConf(tables, { ...SETTINGS, registries })
  assert.ok('text' in conf, JSON.stringify(conf))
  return { registry: JSON.parse(JSON.stringify(parse(conf.text).registry)), origins: conf.origins }
}

describe('what is written', () => {
  it('a table for each registry, the port in the form that a path can have', () => {
    assert.deepEqual(written(['docker.io', '10.0.0.1:5000']).registry, [
      { prefix: 'docker.io', location: 'docker.io', mirror: [{ location: '127.0.0.1:5050/docker.io', ...MIRROR }] },
      { prefix: '10.0.0.1:5000', location: '10.0.0.1:5000', mirror: [{ location: '127.0.0.1:5050/10.0.0.1_5000', ...MIRROR }] }
    ])
  })

  it('the settings and mirrors of the last file that has the registry, after ours', () => {
    const first = '[[registry]]\nlocation = "r.example"\nblocked = true\n'
    const last =
      '[[registry]]\nprefix = "r.example"\nlocation = "origin.example/hub"\ninsecure = true\n[[registry.mirror]]\nlocation = "cache.example"\n'
    assert.deepEqual(written(['r.example'], first, last), {
      registry: [
        {
          prefix: 'r.example',
          location: 'origin.example/hub',
          insecure: true,
          mirror: [{ location: '127.0.0.1:5050/origin.example/hub', ...MIRROR }, { location: 'cache.example' }]
        }
      ],
      origins: ['origin.example']
    })
  })

  it('longer prefixes of the registry too, since they would hide it', () => {
    const { registry } = written(['docker.io'], '[[registry]]\nprefix = "docker.io/library"\nlocation = "r.example/mirror"\n')
    assert.deepEqual(registry[1].mirror, [{ location: '127.0.0.1:5050/r.example/mirror', ...MIRROR }])
  })

  it('what a wildcard said of the registry', () => {
    const { registry } = written(['a.example'], '[[registry]]\nprefix = "*.example"\ninsecure = true\n')
    assert.equal(registry[0].insecure, true)
    assert.equal(registry[0].location, 'a.example')
  })

  it('nothing for a registry that is blocked', () => {
    assert.equal(written(['a.example', 'b.example'], '[[registry]]\nprefix = "a.example"\nblocked = true\n').registry.length, 1)
  })
})

describe('what is refused', () => {
  it('a file in the old format', () => {
    const result = registryTables([{ path: 'r.conf', text: "[registries.search]\nregistries = ['docker.io']\n" }])
    assert.match('problem' in result ? String(result.problem) : '', /version 1/)
  })

  it('broken TOML', () => {
    const result = registryTables([{ path: 'r.conf', text: '[[registry' }])
    assert.match('problem' in result ? String(result.problem) : '', /not valid TOML/)
  })

  it('mirrors of a wildcard, whose meaning would change', () => {
    const tables = registryTables([{ path: 'r.conf', text: '[[registry]]\nprefix = "*.example"\n[[registry.mirror]]\nlocation = "m"\n' }])
    assert.ok(tables instanceof Map)
    assert.ok('problem' in mirrorConf(tables, { ...SETTINGS, registries: ['a.example'] }))
  })
})
