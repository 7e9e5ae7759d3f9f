import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { VERSION } from '@layerswarm/core/version.ts'
import { command } from '../harness/command.ts'
import { assertWorks } from '../harness/installed.ts'
import { temporaryFolder } from '../harness/workspace.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const SYSTEM_PATH = '/usr/bin:/bin'

test('npm pack, then npm install -g, with nothing from a registry', { timeout: 120_000 }, async () => {
  using folder = temporaryFolder()
  const path = `${dirname(process.execPath)}${delimiter}${SYSTEM_PATH}`
  await command('npm', ['pack', '--workspace', 'layerswarm', '--pack-destination', folder.path], { cwd: ROOT })
  const prefix = join(folder.path, 'prefix')
  const pack = join(folder.path, `layerswarm-${VERSION}.tgz`)
  await command('npm', ['install', '--global', '--offline', '--omit=optional', '--prefix', prefix, pack], { cwd: folder.path })

  const program = join(prefix, 'bin/layerswarm')
  const env = { PATH: path }
  assert.equal(await command(program, ['--version'], { env }), `${VERSION}\n`)
  assert.match(await command(program, ['--help'], { env }), /^Usage: layerswarm/)
  const installed = join(prefix, 'lib/node_modules/layerswarm')
  const { license, engines } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  assert.deepEqual({ license, engines }, { license: 'Apache-2.0', engines: { node: '>=24.12' } })
  assert.match(readFileSync(join(installed, 'LICENSE'), 'utf8'), /Apache License/)
  const others = readFileSync(join(installed, 'dist/THIRD-PARTY-LICENSES.txt'), 'utf8')
  assert.ok(/^classic-level \d.*, MIT\n\n.*MIT License/m.test(others), 'the licence of a package inside')
  await assertWorks({ command: [program], env, dataDir: join(folder.path, 'data'), dir: folder.path })
})
