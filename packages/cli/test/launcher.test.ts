import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync } from 'node:child_process'
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { finished, LAUNCHER, runCommand, startCommand } from './run-command.ts'

const DAEMON_FLAGS = ['--external-memory-accounted-in-global-limit', '--initial-heap-size=64', '--max-semi-space-size=4']

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layerswarm-launcher-'))
})
after(() => rm(folder, { recursive: true }))

/** A Node of this machine that is too old to run the command, if there is one. */
function oldNode(): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .concat('/usr/bin', '/usr/local/bin')
    .map((directory) => join(directory, 'node'))
    .find((node) => {
      try {
        return Number(execFileSync(node, ['-p', 'process.versions.node.split(".")[0]'], { stdio: 'pipe' })) < 24
      } catch {
        return false
      }
    })
}

/** This Node, pretending to be an old one. */
async function pretendedOldNode(): Promise<string> {
  const disguise = join(folder, 'disguise.cjs')
  await writeFile(
    disguise,
    `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.1.0' } })\nprocess.execve = undefined\n`
  )
  const script = join(folder, 'node')
  await writeFile(script, `#!/bin/sh\nexec '${process.execPath}' -r '${disguise}' "$@"\n`)
  await chmod(script, 0o755)
  return script
}

const SOURCES = 'src/main.ts'
const BUNDLE = 'dist/main.js'
/** The packages that npm may have installed a Node as. */
const NODE_PACKAGES = ['node', `node-${process.platform}-${process.arch}`] as const

/**
 * The launcher alone in a folder tree, with a main program that runs `body` and then tells how it was started.
 * `bundled` is the package of the Node that lies beside it.
 */
async function install(name: string, options: { bundled?: string; main?: string; body?: string }): Promise<string> {
  const { bundled, main = SOURCES, body = '' } = options
  const root = join(folder, name)
  const launcher = join(root, 'packages', 'cli', 'bin', 'layerswarm.js')
  await cp(dirname(LAUNCHER), dirname(launcher), { recursive: true })
  await mkdir(join(root, 'packages', 'cli', dirname(main)))
  await writeFile(join(root, 'packages', 'cli', 'package.json'), '{ "type": "module" }')
  const tell = `const { execArgv, argv, pid, versions } = process\nconsole.log(JSON.stringify({ execArgv, args: argv.slice(2), pid, node: versions.node }))\n`
  await writeFile(join(root, 'packages', 'cli', main), body + tell)
  if (bundled !== undefined) {
    await mkdir(join(root, 'node_modules', bundled, 'bin'), { recursive: true })
    await symlink(process.execPath, join(root, 'node_modules', bundled, 'bin', 'node'))
  }
  return launcher
}

it('is a script that Node 12 can read', async () => {
  const source = await readFile(LAUNCHER, 'utf8')
  const newer = [/\?\./, /\?\?/, /\bnode:/, /^import /m, /^export /m, /\bawait\b/, /#[a-z]\w*\b(?=\s*[=(])/, /\.at\(/, /replaceAll/]
  assert.deepEqual(
    newer.filter((syntax) => syntax.test(source.replace(/^\/\/.*$/gm, ''))),
    []
  )
})

it('runs the bundle where there are no sources', async () => {
  const launcher = await install('packed', { main: BUNDLE })
  assert.deepEqual(JSON.parse((await runCommand(['ls'], { launcher })).stdout).args, ['ls'])
})

it('gives daemons their node flags and keeps its own pid', async () => {
  const launcher = await install('recent', {})
  for (const name of ['agent', 'tracker', 'standalone']) {
    const child = startCommand([name, '--zone', 'a b'], { launcher })
    const told = JSON.parse((await finished(child)).stdout)
    assert.deepEqual(told, { execArgv: DAEMON_FLAGS, args: [name, '--zone', 'a b'], pid: child.pid, node: process.versions.node })
  }
  const other = JSON.parse((await runCommand(['config', 'print', 'agent'], { launcher })).stdout)
  assert.deepEqual([other.execArgv, other.args], [[], ['config', 'print', 'agent']])
})

describe('started by an old Node', async () => {
  const nodes = async () => [await pretendedOldNode(), oldNode()].filter((node) => node !== undefined)

  it('uses the Node that npm installed', async () => {
    for (const bundled of NODE_PACKAGES) {
      const launcher = await install(`bundled-${bundled}`, { bundled })
      for (const node of await nodes()) {
        const plain = JSON.parse((await runCommand(['--version'], { launcher, node })).stdout)
        assert.equal(plain.node, process.versions.node)
        const daemon = JSON.parse((await runCommand(['agent'], { launcher, node })).stdout)
        assert.deepEqual(daemon.execArgv.slice(-DAEMON_FLAGS.length), DAEMON_FLAGS)
      }
    }
  })

  it('runs the real command', async () => {
    for (const node of await nodes()) {
      assert.match((await runCommand(['--version'], { node })).stdout, /^\d+\.\d+\.\d+\n$/)
      assert.equal((await runCommand(['--nope'], { node })).code, 2)
    }
  })

  it('says what is missing where npm installed none', async () => {
    const launcher = await install('alone', {})
    for (const node of await nodes()) {
      const { code, stderr } = await runCommand(['agent'], { launcher, node })
      assert.match(stderr, /^error: layerswarm needs Node 24\.12 or later; this is v.*\nfix: install Node 24, or run npm install/)
      assert.equal(code, 1)
    }
  })

  it('passes signals on, and what they do', async () => {
    const waits = await install('waits', {
      bundled: 'node',
      body: `const timer = setInterval(() => {}, 1000)\nprocess.once('SIGTERM', () => { clearInterval(timer); process.exitCode = 7 })\n`
    })
    for (const node of await nodes()) {
      for (const [signal, end] of [
        ['SIGTERM', { code: 7, signal: null }],
        ['SIGINT', { code: null, signal: 'SIGINT' }]
      ] as const) {
        const child = startCommand(['agent'], { launcher: waits, node })
        assert.deepEqual(await endOf(child, () => child.kill(signal)), end)
      }
    }
  })
})

/** Acts once the process has written a line, and tells how it ended. */
async function endOf(child: ChildProcess, act: () => void): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  if (child.stdout === null) throw new Error('no pipe')
  createInterface(child.stdout).once('line', act)
  return new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal })))
}
