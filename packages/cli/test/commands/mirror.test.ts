import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { runCommand } from '../run-command.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'layerswarm-mirror-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

function mirror(action: string, ...args: readonly string[]) {
  const places = [
    '--containerd-config',
    join(dir, 'config.toml'),
    '--docker-config',
    join(dir, 'daemon.json'),
    '--registries-conf-dir',
    join(dir, 'conf.d')
  ]
  return runCommand(['mirror', action, ...places, '--data-dir', join(dir, 'data'), '--config', '/dev/null', ...args])
}

describe('containerd', () => {
  it('is installed, told, and uninstalled', async () => {
    const config = join(dir, 'config.toml')
    writeFileSync(config, 'version = 2\n')
    const installed = await mirror('install', '--runtime', 'containerd')
    assert.equal(
      installed.stdout,
      `containerd: asks http://127.0.0.1:5050 first
  created   ${dir}/certs.d/_default/hosts.toml
  changed   ${config}
to do: containerd reads ${config} when it starts; containers go on running:
  systemctl restart containerd
`
    )
    assert.equal(installed.code, 0)
    const again = await mirror('install', '--runtime', 'containerd')
    assert.equal(again.stdout, 'containerd: asks http://127.0.0.1:5050 first already; nothing changed\n')
    const status = await mirror('status', '--runtime', 'containerd')
    assert.match(status.stdout, /^containerd: installed, asks http:\/\/127\.0\.0\.1:5050 first\n {2}installed .*hosts\.toml\n/)
    const uninstalled = await mirror('uninstall', '--runtime', 'containerd')
    assert.match(uninstalled.stdout, /^containerd: as before the install\n {2}removed .*\n {2}restored .*\n/)
    assert.equal(readFileSync(config, 'utf8'), 'version = 2\n')
    assert.equal(existsSync(join(dir, 'data')), false)
  })

  it('is left alone where its configuration cannot be made right: exit 1, with the remedy', async () => {
    writeFileSync(join(dir, 'config.toml'), 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/a:/b"\n')
    const { code, stdout, stderr } = await mirror('install', '--runtime', 'containerd')
    assert.equal(stdout, '')
    assert.match(stderr, /^error: config_path in .* is a list \(\/a:\/b\).*\nfix: set config_path = "\/a"/)
    assert.equal(code, 1)
    const json = await mirror('install', '--runtime', 'containerd', '--json')
    assert.equal(json.code, 1)
    assert.match(JSON.parse(json.stdout).problems[0].problem, /is a list/)
  })
})

it('prints a diff in a dry run, which writes nothing', async () => {
  writeFileSync(join(dir, 'daemon.json'), '{"debug": true}\n')
  const { stdout } = await mirror('install', '--runtime', 'docker', '--dry-run')
  assert.match(
    stdout,
    /^--- .*\n\+\+\+ .*\n@@ .*\n-\{"debug": true\}\n\+\{"debug": true, "registry-mirrors": \["http:\/\/127\.0\.0\.1:5050"\]\}\n/
  )
  assert.match(stdout, /docker: would ask http:\/\/127\.0\.0\.1:5050 first\n[\s\S]*nothing was written \(--dry-run\)\n$/)
  assert.equal(readFileSync(join(dir, 'daemon.json'), 'utf8'), '{"debug": true}\n')
  assert.equal(existsSync(join(dir, 'data')), false)
})

it('is uninstalled everywhere at once, one that fails keeps no other, and nothing is said of those it never was in', async () => {
  writeFileSync(join(dir, 'config.toml'), 'version = 2\n')
  const nothing = await mirror('uninstall', '--runtime', 'all')
  assert.deepEqual([nothing.code, nothing.stdout], [0, 'nothing is installed; nothing changed\n'])
  for (const runtime of ['containerd', 'podman']) assert.equal((await mirror('install', '--runtime', runtime)).code, 0)
  const record = join(dir, 'data/mirror/containerd/manifest.json')
  const kept = readFileSync(record)
  writeFileSync(record, 'broken')
  const half = await mirror('uninstall', '--runtime', 'all')
  assert.equal(half.code, 1)
  assert.match(half.stdout, /^podman: as before the install\n {2}removed .*999-layerswarm\.conf\n$/)
  assert.match(half.stderr, /^error: .*containerd\/manifest\.json.*\nfix: /)
  writeFileSync(record, kept)
  const rest = await mirror('uninstall', '--runtime', 'all', '--json')
  assert.equal(rest.code, 0)
  assert.deepEqual(
    JSON.parse(rest.stdout).map(({ runtime, changed }: { runtime: string; changed: boolean }) => [runtime, changed]),
    ['containerd', 'docker', 'podman', 'crio'].map((name) => [name, name === 'containerd'])
  )
  assert.equal(readFileSync(join(dir, 'config.toml'), 'utf8'), 'version = 2\n')
})

it('names the registries it was given, and tells all in JSON', async () => {
  const args = ['--runtime', 'podman', '--registry', 'r.example', '--mirror-url', 'http://127.0.0.1:6060/']
  const { stdout } = await mirror('install', ...args, '--json')
  const { runtime, changed, files, problems } = JSON.parse(stdout)
  const file = join(dir, 'conf.d/999-layerswarm.conf')
  assert.deepEqual([runtime, changed, files, problems], ['podman', true, [{ path: file, change: 'created', edited: false }], []])
  assert.match(readFileSync(file, 'utf8'), /location = "127\.0\.0\.1:6060\/r\.example"/)
  assert.doesNotMatch(readFileSync(file, 'utf8'), /docker\.io/)
})

it('names the mirror where the agent is configured to listen', async () => {
  const config = join(dir, 'agent.toml')
  writeFileSync(config, 'mirror-listen = "0.0.0.0:6060"\n')
  const installed = await mirror('install', '--runtime', 'docker', '--config', config)
  assert.match(installed.stdout, /^docker: asks http:\/\/127\.0\.0\.1:6060 first\n/)
  const told = await mirror('install', '--runtime', 'docker', '--config', config, '--mirror-url', 'http://127.0.0.1:7070')
  assert.match(told.stdout, /^docker: asks http:\/\/127\.0\.0\.1:7070 first\n/)
})

it('shows all runtimes', async () => {
  const { code, stdout } = await mirror('status', '--json')
  assert.deepEqual(
    JSON.parse(stdout).map(({ runtime, mirrorUrl }: { runtime: string; mirrorUrl: unknown }) => [runtime, mirrorUrl]),
    ['containerd', 'docker', 'podman', 'crio'].map((name) => [name, null])
  )
  assert.equal(code, 0)
})

for (const [what, args] of [
  ['no runtime', []],
  ['an unknown runtime', ['--runtime', 'rkt']],
  ['a URL with a path, with which dockerd would not start', ['--runtime', 'docker', '--mirror-url', 'http://127.0.0.1:5050/v2']],
  ['a URL without a scheme', ['--runtime', 'docker', '--mirror-url', '127.0.0.1:5050']]
] as const) {
  it(`refuses ${what}: exit 2`, async () => {
    const { code, stderr } = await mirror('install', ...args)
    assert.equal(code, 2)
    assert.match(stderr, /^error: .*\nfix: /)
  })
}
