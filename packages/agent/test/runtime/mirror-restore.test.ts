import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Runtime } from '../../src/runtime/setup.ts'
import { HOSTS, Machine, OTHER } from './machine.ts'

describe('any configuration comes back byte for byte, with its permissions', () => {
  const text = <const T extends string | undefined>(...options: readonly T[]) => fc.constantFrom(...options)
  const eol = fc.constantFrom('\n', '\r\n')
  const end = fc.constantFrom('', '\n', '\n\n# the end')
  const mode = fc.constantFrom(0o600, 0o640, 0o644, 0o444)
  const lines = (part: fc.Arbitrary<string | undefined>) =>
    fc.tuple(part, eol, end).map(([body, lineEnd, tail]) => body && (body + tail).replaceAll('\n', lineEnd))

  const config = lines(
    fc.oneof(
      fc.constant(undefined),
      fc
        .tuple(
          text('', '# managed by the platform team\n'),
          text('version = 2\n', 'version = 3\n', ''),
          text('', 'disabled_plugins = []\n'),
          text('', '[grpc]\n  address = "/run/c.sock"\n', '[plugins]\n'),
          text('io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'cri'),
          text(
            '',
            '.registry]\n',
            '.registry]\n  config_path = ""\n',
            '.registry]\n  config_path = "" # none\n  [X.registry.headers]\n    A = ["b"]\n'
          )
        )
        .map(([comment, version, disabled, grpc, plugin, registry]) => {
          const section = registry === '' ? '' : `[X${registry}`.replaceAll('X', `plugins."${plugin}"`)
          return comment + version + disabled + grpc + section
        })
    )
  )
  const hosts = lines(
    text(
      undefined,
      '',
      HOSTS,
      'server = "https://a"',
      '[host."https://a"]',
      'ca = "x"\n[header]\n  a = "b"\n[host."https://a"]\n  skip_verify = true'
    )
  )
  const dirs = fc.dictionary(text('_default', 'docker.io', 'r.example:5000', 'r.example_5000_'), fc.tuple(hosts, fc.boolean(), mode))

  it('containerd', async () => {
    await fc.assert(
      fc.asyncProperty(config, mode, dirs, async (configText, configMode, hostFiles) => {
        using machine = new Machine()
        if (configText !== undefined) machine.write('etc/config.toml', configText, configMode)
        for (const [name, [hostsText, hasCertificate, hostsMode]] of Object.entries(hostFiles)) {
          machine.makeDir(`etc/certs.d/${name}`)
          if (hasCertificate) machine.write(`etc/certs.d/${name}/ca.crt`, 'PEM')
          if (hostsText !== undefined) machine.write(`etc/certs.d/${name}/hosts.toml`, hostsText, hostsMode)
        }
        await comesBack(machine, machine.containerd)
      }),
      { seed: 11, numRuns: 40 }
    )
  })

  const settings = fc.dictionary(text('debug', 'hosts', 'registry-mirrors', 'features'), fc.array(fc.string()), {
    maxKeys: 4
  })

  it('docker, with its own store and with containerd as one', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.option(settings),
        fc.constantFrom(undefined, 4),
        mode,
        fc.boolean(),
        hosts,
        async (values, indent, fileMode, store, hostsText) => {
          using machine = new Machine()
          const features = store ? { features: { 'containerd-snapshotter': true } } : {}
          if (values !== null) machine.write('etc/daemon.json', JSON.stringify({ ...values, ...features }, null, indent), fileMode)
          if (hostsText !== undefined) machine.write('etc/docker-certs/r.example:5000/hosts.toml', hostsText, fileMode)
          await comesBack(machine, machine.docker)
        }
      ),
      { seed: 12, numRuns: 15 }
    )
  })

  const conf = lines(
    text(
      undefined,
      '',
      'unqualified-search-registries = ["docker.io"]\n',
      '[[registry]]\nprefix = "docker.io"\nlocation = "mirror.example/hub"\n'
    )
  )

  it('podman', async () => {
    await fc.assert(
      fc.asyncProperty(conf, conf, async (main, dropIn) => {
        using machine = new Machine()
        if (main !== undefined) machine.write('etc/registries.conf', main)
        if (dropIn !== undefined) machine.write('etc/registries.conf.d/000-shortnames.conf', dropIn)
        await comesBack(machine, machine.podman)
      }),
      { seed: 13, numRuns: 12 }
    )
  })

  /** Installs, again, for another address, and uninstalls. */
  async function comesBack(machine: Machine, runtime: Runtime): Promise<void> {
    const before = machine.snapshot()
    const installed = await machine.install(runtime)
    assert.deepEqual(installed.problems, [])
    assert.ok(installed.changed)
    const after = machine.snapshot()
    assert.equal((await machine.install(runtime)).changed, false)
    assert.deepEqual(machine.snapshot(), after)
    assert.equal((await machine.status(runtime)).configured, true)
    await machine.install(runtime, OTHER)
    const { configured, mirrorUrl } = await machine.status(runtime)
    assert.deepEqual([configured, mirrorUrl], [true, OTHER.mirrorUrl])
    await machine.install(runtime)
    assert.deepEqual(texts(machine), texts(after))
    await machine.uninstall(runtime)
    assert.deepEqual(machine.snapshot(), before)
  }
})

/** Without the record, whose order of folders says when each was made. */
function texts(from: Machine | ReadonlyMap<string, string>): [string, string][] {
  return [...(from instanceof Map ? from : (from as Machine).snapshot())].filter(([name]) => !name.startsWith('data/'))
}
