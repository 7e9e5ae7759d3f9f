// needs: root adduser chroot dpkg dpkg-deb mount umount systemd-analyze
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
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

  async function dpkg(...args: string[]): Promise<string> {
    return await run('dpkg', ...args)
  }

  test('is installed, and again over itself', async () => {
    const [file = ''] = readdirSync(join(machine, 'tmp/package'))
    for (const _ of ['new', 'upgrade']) await dpkg('--install', `/tmp/package/${file}`)
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
