import assert from 'node:assert/strict'
import { appendFileSync, chmodSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { ContainerdRuntime } from '../../src/runtime/containerd.ts'
import { ContainersRuntime } from '../../src/runtime/containers.ts'
import { DockerRuntime } from '../../src/runtime/docker.ts'
import { installMirror, mirrorStatus, uninstallMirror } from '../../src/runtime/mirror-setup.ts'
import type { MirrorSettings, Runtime } from '../../src/runtime/setup.ts'
import { ConfigTree } from './config-tree.ts'

const SETTINGS: MirrorSettings = { mirrorUrl: 'http://127.0.0.1:5050', registries: ['docker.io', 'r.example:5000'], onlyRegistries: false }
const OTHER: MirrorSettings = { ...SETTINGS, mirrorUrl: 'http://127.0.0.1:6060' }

const CRI = 'plugins."io.containerd.grpc.v1.cri"'
const CONFIG = `version = 2\n[${CRI}]\n  [${CRI}.registry]\n    config_path = ""\n`
const HOSTS = '# mine\nserver = "https://r.example:5000"\n\n[host."https://cache.example"]\n  capabilities = ["pull"]\n'

/** A host's configuration, the runtimes that read it, and a data directory beside it. */
class Machine extends ConfigTree {
  readonly containerd = new ContainerdRuntime({ configFile: this.path('etc/config.toml'), ownContainerd: [this.path('etc/rancher/k3s')] })
  readonly docker = new DockerRuntime({ configFile: this.path('etc/daemon.json'), certsDir: this.path('etc/docker-certs') })
  readonly podman = new ContainersRuntime('podman', { confDir: this.path('etc/registries.conf.d') })

  constructor() {
    super()
    this.makeDir('etc')
  }

  get options() {
    return { dataDir: this.path('data') }
  }

  install(runtime: Runtime, settings = SETTINGS) {
    return installMirror(runtime, settings, this.options)
  }

  uninstall(runtime: Runtime) {
    return uninstallMirror(runtime, this.options)
  }

  status(runtime: Runtime, settings = SETTINGS) {
    return mirrorStatus(runtime, settings, this.options)
  }
}

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

describe('containerd', () => {
  it('names the mirror in every folder that hides _default, and says what to restart', async () => {
    using machine = new Machine()
    machine.write('etc/config.toml', CONFIG)
    machine.write('etc/certs.d/r.example:5000/hosts.toml', HOSTS)
    machine.makeDir('etc/certs.d/ghcr.io')
    const { files, todo } = await machine.install(machine.containerd)
    assert.deepEqual(
      files.map(({ path, change }) => [path.slice(machine.dir.length), change]),
      [
        ['/etc/certs.d/_default/hosts.toml', 'created'],
        ['/etc/certs.d/ghcr.io/hosts.toml', 'created'],
        ['/etc/certs.d/r.example:5000/hosts.toml', 'changed'],
        ['/etc/config.toml', 'changed']
      ]
    )
    assert.deepEqual(
      todo.map(({ command }) => command),
      ['systemctl restart containerd']
    )
  })

  it('needs no restart where config_path is set; a folder that comes later is found by the next run', async () => {
    using machine = new Machine()
    machine.write('etc/config.toml', CONFIG.replace('""', `"${machine.path('elsewhere')}"`))
    assert.deepEqual((await machine.install(machine.containerd)).todo, [])
    machine.makeDir('elsewhere/quay.io')
    const status = await machine.status(machine.containerd)
    assert.match(status.problems[0]?.problem ?? '', /quay\.io hides _default/)
    const { files } = await machine.install(machine.containerd)
    assert.deepEqual(
      files.map(({ change }) => change),
      ['unchanged', 'created']
    )
  })

  it('follows config_path to where an imported file sets it', async () => {
    using machine = new Machine()
    machine.write('etc/config.toml', `imports = ["conf.d/*.toml"]\n${CONFIG}`)
    machine.write('etc/conf.d/10.toml', CONFIG.replace('""', `"${machine.path('hosts')}"`))
    await machine.install(machine.containerd)
    assert.match(machine.read('hosts/_default/hosts.toml'), /127\.0\.0\.1:5050/)
    assert.equal(machine.read('etc/config.toml'), `imports = ["conf.d/*.toml"]\n${CONFIG}`)
  })

  it('names only some registries when asked to, unless that would hide what is there', async () => {
    using machine = new Machine()
    const only = { ...SETTINGS, onlyRegistries: true }
    machine.write('etc/config.toml', CONFIG)
    const { files } = await machine.install(machine.containerd, only)
    assert.deepEqual(
      files.map(({ path }) => path.slice(machine.path('etc/').length)),
      ['certs.d/docker.io/hosts.toml', 'certs.d/r.example:5000/hosts.toml', 'config.toml']
    )
    await machine.uninstall(machine.containerd)
    machine.write('etc/certs.d/_default/hosts.toml', HOSTS)
    assert.match((await machine.install(machine.containerd, only)).problems[0]?.problem ?? '', /docker\.io would hide/)
  })

  for (const [what, config, problem, remedy] of [
    [
      'a list in config_path',
      CONFIG.replace('""', '"/etc/containerd/certs.d:/etc/docker/certs.d"'),
      /is a list/,
      /config_path = "\/etc\/containerd\/certs\.d"/
    ],
    ['broken TOML', 'version = \n', /not valid TOML/, /correct the file/],
    [
      'mirrors in the old form',
      `${CONFIG}[${CRI}.registry.mirrors."docker.io"]\nendpoint = ["https://a"]\n`,
      /registry\.mirrors/,
      /hosts\.toml/
    ],
    [
      'a file of k3s',
      `# File generated by k3s. DO NOT EDIT. Use config.toml.tmpl instead.\n${CONFIG}`,
      /written by k3s/,
      /registries\.yaml/
    ],
    ['a file of RKE2', `# File generated by rke2. DO NOT EDIT.\n${CONFIG}`, /written by RKE2/, /registries\.yaml/],
    [
      'a file of some program',
      `# This file is managed by Puppet: do not edit\n${CONFIG}`,
      /written by another program/,
      /where that program/
    ]
  ] as const) {
    it(`leaves ${what} alone, with the remedy`, async () => {
      using machine = new Machine()
      machine.write('etc/config.toml', config)
      const before = machine.snapshot()
      const report = await machine.install(machine.containerd)
      assert.equal(report.changed, false)
      assert.match(report.problems[0]?.problem ?? '', problem)
      assert.match(report.problems[0]?.remedy ?? '', remedy)
      assert.deepEqual(machine.snapshot(), before)
    })
  }

  it('writes no configuration beside the containerd that k3s brings', async () => {
    using machine = new Machine()
    machine.makeDir('etc/rancher/k3s')
    assert.match((await machine.install(machine.containerd)).problems[0]?.problem ?? '', /written by k3s/)
  })

  it('shows a diff in a dry run and writes nothing', async () => {
    using machine = new Machine()
    machine.write('etc/config.toml', CONFIG)
    const before = machine.snapshot()
    const report = await installMirror(machine.containerd, SETTINGS, { ...machine.options, dryRun: true })
    assert.deepEqual(machine.snapshot(), before)
    assert.match(report.files[1]?.diff ?? '', /^--- .*config\.toml\n\+\+\+ .*config\.toml\n@@ -1,4 \+1,7 @@\n/)
    assert.match(report.files[0]?.diff ?? '', /^--- \/dev\/null\n\+\+\+ .*_default\/hosts\.toml\n/)
    assert.equal(report.changed, true)
  })
})

describe('what others did meanwhile', () => {
  it('survives an uninstall and is told', async () => {
    using machine = new Machine()
    machine.write('etc/config.toml', CONFIG)
    await machine.install(machine.containerd)
    appendFileSync(machine.path('etc/config.toml'), '[debug]\n  level = "debug"\n')
    appendFileSync(machine.path('etc/certs.d/_default/hosts.toml'), '[host."https://cache.example"]\n')
    machine.write('etc/certs.d/_default/ca.crt', 'PEM')
    assert.deepEqual(
      (await machine.status(machine.containerd)).files.map(({ state }) => state),
      ['edited', 'edited']
    )
    const { files } = await machine.uninstall(machine.containerd)
    assert.deepEqual(
      files.map(({ change, edited }) => [change, edited]),
      [
        ['restored', true],
        ['restored', true]
      ]
    )
    assert.equal(machine.read('etc/config.toml'), `${CONFIG}[debug]\n  level = "debug"\n`)
    assert.equal(machine.read('etc/certs.d/_default/hosts.toml'), '[host."https://cache.example"]\n')
    assert.equal(machine.read('etc/certs.d/_default/ca.crt'), 'PEM')
  })

  it('is what an install for another address starts from, and what then comes back', async () => {
    using machine = new Machine()
    machine.write('etc/daemon.json', '{"debug": true}')
    await machine.install(machine.docker)
    machine.write('etc/daemon.json', machine.read('etc/daemon.json').replace('true', 'false'))
    await machine.install(machine.docker, OTHER)
    assert.equal(machine.read('etc/daemon.json'), '{"debug": false, "registry-mirrors": ["http://127.0.0.1:6060"]}')
    await machine.uninstall(machine.docker)
    assert.equal(machine.read('etc/daemon.json'), '{"debug": false}')
  })

  it('keeps permissions that were changed', async () => {
    using machine = new Machine()
    machine.write('etc/daemon.json', '{}')
    await machine.install(machine.docker)
    chmodSync(machine.path('etc/daemon.json'), 0o600)
    await machine.uninstall(machine.docker)
    assert.match(machine.snapshot().get('etc/daemon.json') ?? '', /^100600 .* \{\}$/)
  })

  it('is no file that comes back after it was removed', async () => {
    using machine = new Machine()
    machine.write('etc/config.toml', CONFIG)
    await machine.install(machine.containerd)
    rmSync(machine.path('etc/certs.d'), { recursive: true })
    assert.equal((await machine.status(machine.containerd)).files[0]?.state, 'missing')
    await machine.uninstall(machine.containerd)
    assert.deepEqual([...machine.snapshot().keys()], ['etc', 'etc/config.toml'])
  })

  it('is found without the record too', async () => {
    using machine = new Machine()
    machine.write('etc/config.toml', CONFIG)
    machine.write('etc/certs.d/docker.io/hosts.toml', HOSTS)
    const before = machine.snapshot()
    await machine.install(machine.containerd)
    rmSync(machine.path('data'), { recursive: true })
    assert.equal((await machine.status(machine.containerd)).configured, true)
    await machine.uninstall(machine.containerd)
    // Who made the folder is not known any more.
    assert.deepEqual(
      [...machine.snapshot()].filter(([name]) => !name.endsWith('_default')),
      [...before]
    )
  })
})

describe('symbolic links', () => {
  it('inside of the folder are followed and stay', async () => {
    using machine = new Machine()
    machine.write('etc/real.json', '{}')
    symlinkSync('real.json', machine.path('etc/daemon.json'))
    const before = machine.snapshot()
    await machine.install(machine.docker)
    assert.match(machine.read('etc/real.json'), /registry-mirrors/)
    await machine.uninstall(machine.docker)
    assert.deepEqual(machine.snapshot(), before)
  })

  it('out of it are refused', async () => {
    using machine = new Machine()
    machine.write('shared/daemon.json', '{}')
    symlinkSync('../shared/daemon.json', machine.path('etc/daemon.json'))
    const before = machine.snapshot()
    const { problems } = await machine.install(machine.docker)
    assert.match(problems[0]?.problem ?? '', /leads out of/)
    assert.deepEqual(machine.snapshot(), before)
  })

  it('of a whole registry folder are refused too', async () => {
    using machine = new Machine()
    machine.write('etc/config.toml', CONFIG)
    machine.makeDir('etc/certs.d')
    machine.makeDir('shared')
    symlinkSync(machine.path('shared'), machine.path('etc/certs.d/docker.io'))
    assert.match((await machine.install(machine.containerd)).problems[0]?.problem ?? '', /leads out of/)
  })

  it('to nothing are refused', async () => {
    using machine = new Machine()
    symlinkSync('gone.json', machine.path('etc/daemon.json'))
    assert.match((await machine.install(machine.docker)).problems[0]?.problem ?? '', /link to nothing/)
  })
})

describe('podman', () => {
  it('is judged by what it was installed for, not by what the agent serves now', async () => {
    using machine = new Machine()
    await machine.install(machine.podman)
    const { configured } = await machine.status(machine.podman, { ...SETTINGS, registries: ['quay.io'] })
    assert.equal(configured, true)
    assert.equal((await machine.install(machine.podman, { ...SETTINGS, registries: ['quay.io'] })).changed, true)
    assert.doesNotMatch(machine.read('etc/registries.conf.d/999-layerswarm.conf'), /docker\.io/)
  })

  it('keeps what a later file would take away by refusing', async () => {
    using machine = new Machine()
    machine.write('etc/registries.conf.d/zz.conf', '[[registry]]\nprefix = "docker.io/library"\nlocation = "docker.io/library"\n')
    assert.match((await machine.install(machine.podman)).problems[0]?.problem ?? '', /zz\.conf counts instead/)
    renameSync(machine.path('etc/registries.conf.d/zz.conf'), machine.path('etc/registries.conf.d/50.conf'))
    assert.deepEqual((await machine.install(machine.podman)).problems, [])
  })

  it('tells of origins that the agent has to be allowed', async () => {
    using machine = new Machine()
    machine.write('etc/registries.conf', '[[registry]]\nprefix = "docker.io"\nlocation = "hub.example/proxy"\n')
    assert.match((await machine.install(machine.podman)).notes[0] ?? '', /--registry hub\.example/)
  })
})
