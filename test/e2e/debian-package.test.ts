// needs: root adduser chroot dpkg dpkg-deb mount umount systemd-analyze
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { VERSION } from '@layerswarm/core/version.ts'
import { command } from '../harness/command.ts'
import { assertWorks } from '../harness/installed.ts'
import { temporaryFolder } from '../harness/workspace.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }

/** The package is installed into a copy of this machine's files that keeps what is changed in memory. */
describe('the Debian package', { timeout: 120_000 }, () => {
  const stack = new DisposableStack()
  let dir: string
  /** The copy, as this machine sees it. */
  let machine: string

  before(async () => {
    dir = stack.use(temporaryFolder()).path
    machine = join(dir, 'machine')
    const memory = join(dir, 'memory')
    mkdirSync(machine)
    mkdirSync(memory)
    await command('mount', ['-t', 'tmpfs', 'tmpfs', memory])
    for (const folder of ['changed', 'work']) mkdirSync(join(memory, folder))
    const layers = `lowerdir=/,upperdir=${join(memory, 'changed')},workdir=${join(memory, 'work')}`
    await command('mount', ['-t', 'overlay', 'overlay', '-o', layers, machine])
    await command('mount', ['-t', 'proc', 'proc', join(machine, 'proc')])
    // No bind of the machine's own: this folder is removed with all that is in it.
    await command('mount', ['-t', 'tmpfs', 'tmpfs', join(machine, 'dev')])
    await command('mknod', ['--mode=666', join(machine, 'dev/null'), 'c', '1', '3'])
    await command(process.execPath, ['scripts/build-deb.ts', join(machine, 'tmp/package')], { cwd: ROOT })
  })
  after(() => stack.dispose())

  /** Runs a program of the copy there. */
  function run(program: string, ...args: string[]): Promise<string> {
    return command('chroot', [machine, program, ...args], { env: ENV })
  }

  function file(): string {
    return readdirSync(join(machine, 'tmp/package'))[0] ?? ''
  }

  async function dpkg(...args: string[]): Promise<string> {
    return await run('dpkg', ...args)
  }

  test('is installed, and again over itself', async () => {
    for (const _ of ['new', 'upgrade']) await dpkg('--install', `/tmp/package/${file()}`)
    assert.equal(await run('layerswarm', '--version'), `${VERSION}\n`)
    assert.match(await run('id', 'layerswarm'), /^uid=\d+\(layerswarm\) gid=\d+\(layerswarm\)/)
    assert.match(await run('stat', '--format=%a %U', '/'), /^755 root/)
  })

  test('has units that systemd can read, and options that are valid', async () => {
    assert.equal(await run('systemd-analyze', 'verify', 'layerswarm-agent.service', 'layerswarm-tracker.service'), '')
    for (const daemon of ['agent', 'tracker']) await run('layerswarm', 'config', 'check', daemon)
    assert.match(await run('layerswarm', 'config', 'print', 'tracker', '--json'), /"file": "\/etc\/layerswarm\/tracker\.toml"/)
  })

  test('works, with the Node that it brings, for the user that it makes', async () => {
    const started = '/var/lib/layerswarm'
    await run('install', '--directory', '--owner=layerswarm', started)
    await assertWorks({
      command: ['chroot', '--userspec=layerswarm:layerswarm', machine, '/usr/bin/layerswarm'],
      env: { ...ENV, HOME: started },
      dataDir: join(started, 'data'),
      dir
    })
  })

  test('teaches the shells', async () => {
    const script = 'source /usr/share/bash-completion/completions/layerswarm; complete -p layerswarm'
    assert.match(await run('bash', '--norc', '-c', script), /layerswarm$/m)
    for (const file of ['zsh/vendor-completions/_layerswarm', 'fish/vendor_completions.d/layerswarm.fish']) {
      assert.ok(existsSync(join(machine, 'usr/share', file)), file)
    }
  })

  test('takes the mirror out of runtimes when it is removed, and not when it is upgraded', async () => {
    const config = join(machine, 'etc/containerd/config.toml')
    const hosts = join(machine, 'etc/containerd/certs.d/_default/hosts.toml')
    const conf = join(machine, 'etc/containers/registries.conf.d/999-layerswarm.conf')
    const there = () => [hosts, conf].map((file) => existsSync(file))
    mkdirSync(dirname(config), { recursive: true })
    writeFileSync(config, 'version = 2\n')
    for (const runtime of ['containerd', 'podman']) await run('layerswarm', 'mirror', 'install', '--runtime', runtime)
    assert.deepEqual(there(), [true, true])
    await dpkg('--install', `/tmp/package/${file()}`)
    assert.deepEqual(there(), [true, true])
    const told = await dpkg('--remove', 'layerswarm')
    assert.match(told, /^containerd: as before the install\n[\s\S]*^podman: as before the install\n/m)
    assert.deepEqual(there(), [false, false])
    assert.equal(readFileSync(config, 'utf8'), 'version = 2\n')
    assert.equal(existsSync(join(machine, 'var/lib/layerswarm/mirror')), false)
    await dpkg('--install', `/tmp/package/${file()}`)
  })

  test('says what to do where it cannot, is removed nevertheless, and keeps what files were', async () => {
    await run('layerswarm', 'mirror', 'install', '--runtime', 'podman')
    const record = join(machine, 'var/lib/layerswarm/mirror/containers/manifest.json')
    writeFileSync(record, 'broken')
    const told = await run('sh', '-c', 'dpkg --purge layerswarm 2>&1')
    assert.match(told, /error: .*containers\/manifest\.json/)
    assert.match(told, /WARNING: runtimes of this host may still ask the mirror/)
    assert.match(told, /\/var\/lib\/layerswarm\/mirror stays/)
    assert.equal(existsSync(join(machine, 'usr/bin/layerswarm')), false)
    assert.deepEqual(readdirSync(join(machine, 'var/lib/layerswarm')), ['mirror'])
    await run('rm', '-r', '/var/lib/layerswarm')
    await dpkg('--install', `/tmp/package/${file()}`)
  })

  test('is removed, and purged without a trace but for what others put there', async () => {
    await run('touch', '/etc/layerswarm/cluster.key')
    await dpkg('--remove', 'layerswarm')
    const left = (folder: string) => (existsSync(join(machine, folder)) ? readdirSync(join(machine, folder)) : undefined)
    assert.deepEqual(left('usr/lib/layerswarm'), undefined)
    assert.deepEqual(left('etc/layerswarm')?.sort(), ['agent.toml', 'cluster.key', 'tracker.toml'])
    await dpkg('--purge', 'layerswarm')
    assert.deepEqual(left('etc/layerswarm'), ['cluster.key'])
    assert.deepEqual(left('var/lib/layerswarm'), undefined)
  })
})
