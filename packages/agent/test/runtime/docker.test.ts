import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:http'
import { describe, it } from 'node:test'
import { DockerRuntime } from '../../src/runtime/docker.ts'
import { installMirror, mirrorStatus, uninstallMirror } from '../../src/runtime/mirror-setup.ts'
import { ConfigTree } from './config-tree.ts'

const SETTINGS = { mirrorUrl: 'http://127.0.0.1:5050', registries: ['docker.io', 'r.example'], onlyRegistries: false }

interface DaemonOptions {
  readonly flags?: readonly string[]
  /** It reads its file again when told to. */
  readonly reloads?: boolean
  readonly driver?: string
}

/** A process that looks like dockerd, with the part of its API that is asked for. */
class Dockerd extends ConfigTree implements AsyncDisposable {
  readonly runtime = new DockerRuntime({ configFile: this.path('etc/daemon.json'), certsDir: this.path('etc/certs.d'), reloadMs: 300 })
  readonly #child: ChildProcess
  readonly #server = createServer((_request, response) => response.end(JSON.stringify(this.#info())))
  readonly #driver: string
  #mirrors: string[] = []

  private constructor({ flags = [], driver = '' }: DaemonOptions) {
    super()
    this.#driver = driver
    this.write('etc/daemon.json', `{"hosts": ["unix://${this.path('d.sock')}"]}`)
    symlinkSync('/bin/sh', this.path('dockerd'))
    // It ends with the test's process, whatever becomes of that.
    const script = 'trap "echo reload" HUP; echo up; while kill -0 $PPID; do sleep 0.1; done'
    this.#child = spawn(this.path('dockerd'), ['-c', script, 'dockerd', '--config-file', this.path('etc/daemon.json'), ...flags], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
  }

  static async start(options: DaemonOptions = {}): Promise<Dockerd> {
    const dockerd = new Dockerd(options)
    await once(dockerd.#child.stdout ?? dockerd.#child, 'data')
    if (options.reloads !== false) dockerd.#child.stdout?.on('data', () => dockerd.#reload())
    dockerd.#server.listen(dockerd.path('d.sock'))
    await once(dockerd.#server, 'listening')
    return dockerd
  }

  get options() {
    return { dataDir: this.path('data') }
  }

  /** As dockerd 20.10: a key that is gone changes nothing. */
  #reload(): void {
    this.#mirrors = JSON.parse(readFileSync(this.path('etc/daemon.json'), 'utf8'))['registry-mirrors'] ?? this.#mirrors
  }

  #info(): object {
    return { RegistryConfig: { Mirrors: this.#mirrors.map((url) => `${url}/`) }, DriverStatus: [['driver-type', this.#driver]] }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = this.#child.exitCode === null ? once(this.#child, 'exit') : undefined
    this.#child.kill('SIGKILL')
    this.#server.close()
    this.#server.closeAllConnections()
    await ended
    this[Symbol.dispose]()
  }
}

describe('a running dockerd', () => {
  it('is told to reload, and lets go of its last mirror', async () => {
    await using dockerd = await Dockerd.start()
    const before = dockerd.read('etc/daemon.json')
    const installed = await installMirror(dockerd.runtime, SETTINGS, dockerd.options)
    assert.match(installed.done[0] ?? '', /has reloaded/)
    assert.deepEqual((await mirrorStatus(dockerd.runtime, SETTINGS, dockerd.options)).problems, [])
    const uninstalled = await uninstallMirror(dockerd.runtime, dockerd.options)
    assert.match(uninstalled.done[0] ?? '', /has reloaded/)
    assert.deepEqual(
      uninstalled.files.map(({ change }) => change),
      ['restored']
    )
    assert.equal(dockerd.read('etc/daemon.json'), before)
    assert.equal(existsSync(dockerd.path('data')), false)
  })

  it('that does not take the mirror is a problem, then and later', async () => {
    await using dockerd = await Dockerd.start({ reloads: false })
    const { problems } = await installMirror(dockerd.runtime, SETTINGS, dockerd.options)
    assert.match(problems[0]?.problem ?? '', /did not take http:\/\/127\.0\.0\.1:5050/)
    const status = await mirrorStatus(dockerd.runtime, SETTINGS, dockerd.options)
    assert.match(status.problems[0]?.problem ?? '', /does not use the mirror/)
  })

  it('with mirrors among its flags would not start with more of them in its file', async () => {
    await using dockerd = await Dockerd.start({ flags: ['--registry-mirror=https://a.example'] })
    const before = dockerd.snapshot()
    const { problems } = await installMirror(dockerd.runtime, SETTINGS, dockerd.options)
    assert.match(problems[0]?.problem ?? '', /--registry-mirror among its flags/)
    assert.deepEqual(dockerd.snapshot(), before)
  })

  it('with its images in containerd is told of every registry, and keeps its mirrors of docker.io', async () => {
    await using dockerd = await Dockerd.start({ driver: 'io.containerd.snapshotter.v1' })
    dockerd.write('etc/certs.d/r.example/ca.crt', 'PEM')
    await installMirror(dockerd.runtime, SETTINGS, dockerd.options)
    assert.match(dockerd.read('etc/certs.d/r.example/hosts.toml'), /ca = \["ca\.crt"\]/)
    // With two hosts for it there dockerd would heed no registry-mirrors.
    assert.equal(existsSync(dockerd.path('etc/certs.d/docker.io')), false)
    await uninstallMirror(dockerd.runtime, dockerd.options)
    assert.equal(existsSync(dockerd.path('etc/certs.d/r.example/hosts.toml')), false)
  })

  it('with its images in containerd is told of the mirror where a hosts.toml of docker.io hides it', async () => {
    await using dockerd = await Dockerd.start({ driver: 'io.containerd.snapshotter.v1' })
    dockerd.write('etc/certs.d/docker.io/hosts.toml', '[host."https://cache.example"]\n')
    await installMirror(dockerd.runtime, SETTINGS, dockerd.options)
    assert.match(dockerd.read('etc/certs.d/docker.io/hosts.toml'), /127\.0\.0\.1:5050/)
  })

  it('with its images in containerd goes on taking insecure registries for such', async () => {
    await using dockerd = await Dockerd.start({
      driver: 'io.containerd.snapshotter.v1',
      flags: ['--insecure-registry', 'flag.example:5000,plain.example']
    })
    dockerd.write(
      'etc/daemon.json',
      JSON.stringify({ ...JSON.parse(dockerd.read('etc/daemon.json')), 'insecure-registries': ['10.0.0.0/8', 'own.example:5000'] })
    )
    dockerd.write('etc/certs.d/own.example:5000/hosts.toml', 'server = "https://own.example:5000"\n')
    const registries = ['10.1.2.3:5000', 'flag.example:5000', 'plain.example', 'own.example:5000', '11.1.2.3:5000']
    const { notes } = await installMirror(dockerd.runtime, { ...SETTINGS, registries }, dockerd.options)
    for (const registry of ['10.1.2.3:5000', 'flag.example:5000']) {
      const text = dockerd.read(`etc/certs.d/${registry}/hosts.toml`)
      assert.match(text, new RegExp(`\nserver = "http://${registry}"\nskip_verify = true\n\n\\[host\\.`))
    }
    assert.doesNotMatch(dockerd.read('etc/certs.d/11.1.2.3:5000/hosts.toml'), /server/)
    // HTTPS and HTTP are at different ports, or somebody said otherwise: no one file stands for both.
    assert.equal(existsSync(dockerd.path('etc/certs.d/plain.example')), false)
    assert.equal(dockerd.read('etc/certs.d/own.example:5000/hosts.toml'), 'server = "https://own.example:5000"\n')
    assert.deepEqual(
      notes.map((note) => /images of (\S+):/.exec(note)?.[1]),
      ['plain.example', 'own.example:5000']
    )
  })
})
