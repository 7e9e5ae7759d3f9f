import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { listenAddress } from '../../src/config/addresses.ts'
import { nameText } from '../../src/config/fields.ts'
import { type Flags, loadConfig, resolveConfig } from '../../src/config/load.ts'
import { type ConfigOf, derived, type HostFacts, list, type OptionSet, option, optional } from '../../src/config/options.ts'
import { size } from '../../src/config/quantities.ts'
import { LayerswarmError } from '../../src/errors.ts'

const specs = {
  zone: option(nameText, 'zone', 'default-zone'),
  maxDisk: optional(size, 'disk'),
  mirrorListen: option(listenAddress, 'mirror', { host: '127.0.0.1', port: 5050 }),
  tag: list(nameText, 'tags'),
  label: derived(nameText, 'label', { text: 'zone of host', from: ({ zone }, { hostname }) => `${String(zone)}-${hostname}` })
}
type Config = ConfigOf<typeof specs>
const set: OptionSet<Config> = { name: 'sample', specs, finish: (config) => config }

function facts(env: HostFacts['env'] = {}): HostFacts {
  return { env, root: false, home: '/home/somebody', hostname: 'host-1', terminal: false }
}

function load(sources: { toml?: string; env?: HostFacts['env']; flags?: Flags }) {
  const { toml, env, flags = {} } = sources
  return resolveConfig(set, { flags, facts: facts(env), ...(toml === undefined ? {} : { file: { path: '/etc/sample.toml', text: toml } }) })
}

function problemsOf(sources: Parameters<typeof load>[0]): string {
  try {
    load(sources)
  } catch (error) {
    assert.ok(error instanceof LayerswarmError && error.code === 'CONFIG_INVALID')
    return error.message
  }
  assert.fail('nothing was refused')
}

describe('precedence', () => {
  const file = { toml: 'zone = "file"' }
  const env = { env: { LAYERSWARM_ZONE: 'env' } }
  const flag = { flags: { zone: 'flag' } }
  const fromFile = { kind: 'file', name: '/etc/sample.toml' }
  const fromEnv = { kind: 'environment', name: 'LAYERSWARM_ZONE' }
  const fromFlag = { kind: 'flag', name: '--zone' }
  const table = [
    [{}, 'default-zone', { kind: 'default', name: '' }],
    [file, 'file', fromFile],
    [env, 'env', fromEnv],
    [flag, 'flag', fromFlag],
    [{ ...file, ...env }, 'env', fromEnv],
    [{ ...file, ...flag }, 'flag', fromFlag],
    [{ ...env, ...flag }, 'flag', fromFlag],
    [{ ...file, ...env, ...flag }, 'flag', fromFlag]
  ] as const
  for (const [sources, value, origin] of table) {
    it(`of ${Object.keys(sources).join(', ') || 'nothing'}: ${value}`, () => {
      const { config, origins } = load(sources)
      assert.equal(config.zone, value)
      assert.deepEqual(origins.zone, origin)
    })
  }

  it('replaces a list as a whole', () => {
    assert.deepEqual(load({ toml: 'tag = ["a", "b"]' }).config.tag, ['a', 'b'])
    assert.deepEqual(load({ toml: 'tag = "a"' }).config.tag, ['a'])
    assert.deepEqual(load({ toml: 'tag = ["a", "b"]', env: { LAYERSWARM_TAG: 'c, d' } }).config.tag, ['c', 'd'])
    assert.deepEqual(load({ env: { LAYERSWARM_TAG: 'c,d' }, flags: { tag: ['e'] } }).config.tag, ['e'])
    assert.deepEqual(load({}).config.tag, [])
  })

  it('derives a default from what else is set and from the host', () => {
    const { config, origins } = load({ env: { LAYERSWARM_ZONE: 'z' } })
    assert.equal(config.label, 'z-host-1')
    assert.equal(origins.label.kind, 'default')
  })

  it('takes TOML numbers, and an empty variable as not set', () => {
    const { config } = load({ toml: 'max-disk = 1000\n', env: { LAYERSWARM_ZONE: '' } })
    assert.equal(config.maxDisk, 1000)
    assert.equal(config.zone, 'default-zone')
  })
})

describe('what is refused', () => {
  it('names an unknown key of the file and the nearest one', () => {
    const problem = problemsOf({ toml: 'mirror-lisen = "127.0.0.1:1"' })
    assert.match(problem, /\/etc\/sample\.toml has an unknown key mirror-lisen; did you mean mirror-listen\?/)
  })
  it('names an unknown variable and the nearest one', () => {
    assert.match(
      problemsOf({ env: { LAYERSWARM_MAXDISK: '1' } }),
      /unknown variable LAYERSWARM_MAXDISK; did you mean LAYERSWARM_MAX_DISK\?/
    )
  })
  it('refuses keys in camel case and tables', () => {
    assert.match(problemsOf({ toml: 'mirrorListen = "127.0.0.1:1"' }), /unknown key mirrorListen; did you mean mirror-listen/)
    assert.match(problemsOf({ toml: '[zone]\nname = "a"' }), /zone in \/etc\/sample\.toml: \{"name":"a"\} is not a name/)
  })
  it('names where a bad value came from', () => {
    assert.match(problemsOf({ toml: 'max-disk = "1X"' }), /max-disk in \/etc\/sample\.toml: "1X" is not a size/)
    assert.match(problemsOf({ env: { LAYERSWARM_MAX_DISK: '1X' } }), /LAYERSWARM_MAX_DISK: "1X" is not a size/)
    assert.match(problemsOf({ flags: { maxDisk: '1X' } }), /--max-disk: "1X" is not a size/)
    assert.match(problemsOf({ toml: 'tag = [true]' }), /tag in .*: true is not a name/)
  })
  it('tells all problems at once', () => {
    const problem = problemsOf({ toml: 'nope = 1', env: { LAYERSWARM_NO: '1' }, flags: { mirrorListen: 'x', maxDisk: 'y' } })
    for (const part of ['nope', 'LAYERSWARM_NO', '--mirror-listen', '--max-disk']) assert.ok(problem.includes(part), part)
  })
  it('tells the line of broken TOML', () => {
    assert.match(problemsOf({ toml: 'zone = "a"\nmax-disk = = 1' }), /\/etc\/sample\.toml, line 2, column 12/)
  })
})

it('is not disturbed by what Kubernetes puts into the environment for a service called layerswarm', () => {
  const env = {
    LAYERSWARM_SERVICE_HOST: '10.0.0.1',
    LAYERSWARM_SERVICE_PORT: '5050',
    LAYERSWARM_SERVICE_PORT_MIRROR: '5050',
    LAYERSWARM_PORT: 'tcp://10.0.0.1:5050',
    LAYERSWARM_PORT_5050_TCP: 'tcp://10.0.0.1:5050',
    LAYERSWARM_PORT_5050_TCP_ADDR: '10.0.0.1',
    LAYERSWARM_TRACKER_PORT_5060_TCP_PROTO: 'tcp'
  }
  assert.equal(load({ env }).config.zone, 'default-zone')
  assert.match(problemsOf({ env: { LAYERSWARM_PORT: '5050' } }), /unknown variable LAYERSWARM_PORT/)
})

describe('the file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'layerswarm-config-'))
  after(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'sample.toml'), 'zone = "usual"')
  await writeFile(join(folder, 'other.toml'), 'zone = "other"')

  it('is the usual one where it exists', async () => {
    const { config, file } = await loadConfig(set, { facts: facts(), folder })
    assert.equal(config.zone, 'usual')
    assert.equal(file, join(folder, 'sample.toml'))
    const without = await loadConfig(set, { facts: facts(), folder: join(folder, 'absent') })
    assert.equal(without.config.zone, 'default-zone')
    assert.equal(without.file, undefined)
  })
  it('is named by the flag before the variable', async () => {
    const env = facts({ LAYERSWARM_CONFIG: join(folder, 'other.toml') })
    assert.equal((await loadConfig(set, { facts: env, folder })).config.zone, 'other')
    assert.equal((await loadConfig(set, { facts: env, folder, config: join(folder, 'sample.toml') })).config.zone, 'usual')
  })
  it('must be there when it is named', async () => {
    const absent = join(folder, 'absent.toml')
    await assert.rejects(loadConfig(set, { facts: facts(), config: absent }), {
      code: 'CONFIG_INVALID',
      detail: `${absent} cannot be read`
    })
  })
})
