/**
 * `npm run deb`: makes the Debian package of this machine's architecture, in dist/ or the folder that is named. It brings
 * its own Node, that of the npm package, since Debian's is older. Needs dpkg-deb.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, cpSync, globSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { bundle, PACKAGE, ROOT } from './build/bundle.ts'
import { debianArchitecture, debianControl } from './build/debian-control.ts'

const NODE = join(ROOT, 'node_modules', `node-linux-${process.arch}`)
const HOME = 'usr/lib/layerswarm'
const DOC = 'usr/share/doc/layerswarm'
const CONFFILES = ['/etc/layerswarm/agent.toml', '/etc/layerswarm/tracker.toml']
const OWNER_MAY_EXECUTE = 0o100
const MAINTAINER_SCRIPTS = ['postinst', 'prerm', 'postrm']

/** Where each shell looks for what it completes. */
const COMPLETIONS = {
  bash: 'usr/share/bash-completion/completions/layerswarm',
  zsh: 'usr/share/zsh/vendor-completions/_layerswarm',
  fish: 'usr/share/fish/vendor_completions.d/layerswarm.fish'
}

/** Files by the place where they are installed. */
const FILES: Readonly<Record<string, string>> = {
  [`${HOME}/node`]: join(NODE, 'bin/node'),
  [`${HOME}/package.json`]: join(PACKAGE, 'package.json'),
  'usr/bin/layerswarm': join(ROOT, 'packaging/debian/layerswarm'),
  'usr/lib/systemd/system/layerswarm-agent.service': join(ROOT, 'packaging/systemd/layerswarm-agent.service'),
  'usr/lib/systemd/system/layerswarm-tracker.service': join(ROOT, 'packaging/systemd/layerswarm-tracker.service'),
  'etc/layerswarm/agent.toml': join(ROOT, 'packaging/config/agent.toml'),
  'etc/layerswarm/tracker.toml': join(ROOT, 'packaging/config/tracker.toml'),
  [`${DOC}/README.md`]: join(ROOT, 'README.md'),
  [`${DOC}/reference.md`]: join(ROOT, 'docs/reference.md'),
  [`${DOC}/copyright`]: join(ROOT, 'LICENSE'),
  [`${DOC}/copyright.node`]: join(NODE, 'LICENSE')
}

async function main(target: string): Promise<void> {
  await bundle()
  const { version } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'))
  const root = mkdtempSync(join(tmpdir(), 'layerswarm-deb-'))
  try {
    layOut(root)
    writeControl(root, version)
    setModes(root)
    mkdirSync(target, { recursive: true })
    const file = join(target, `layerswarm_${version}_${debianArchitecture()}.deb`)
    execFileSync('dpkg-deb', ['--root-owner-group', '-Zzstd', '--build', root, file], { stdio: ['ignore', 'ignore', 'inherit'] })
    process.stdout.write(`${file}: ${(lstatSync(file).size / 1e6).toFixed(1)} MB\n`)
  } finally {
    rmSync(root, { recursive: true })
  }
}

function layOut(root: string): void {
  for (const folder of ['bin', 'dist']) cpSync(join(PACKAGE, folder), join(root, HOME, folder), { recursive: true })
  for (const [place, file] of Object.entries(FILES)) {
    mkdirSync(dirname(join(root, place)), { recursive: true })
    copyFileSync(file, join(root, place))
  }
  for (const [shell, place] of Object.entries(COMPLETIONS)) {
    mkdirSync(dirname(join(root, place)), { recursive: true })
    writeFileSync(join(root, place), execFileSync(join(root, 'usr/bin/layerswarm'), ['completion', shell]))
  }
}

function writeControl(root: string, version: string): void {
  const bytes = globSync('**', { cwd: root }).reduce((sum, file) => sum + lstatSync(join(root, file)).size, 0)
  const control = join(root, 'DEBIAN')
  mkdirSync(control, { mode: 0o755 })
  writeFileSync(join(control, 'control'), debianControl(version, Math.ceil(bytes / 1024)))
  writeFileSync(join(control, 'conffiles'), CONFFILES.map((file) => `${file}\n`).join(''))
  for (const script of MAINTAINER_SCRIPTS) copyFileSync(join(ROOT, 'packaging/debian', script), join(control, script))
}

/** Modes that do not hang on the umask of whoever made the checkout: what is a program stays one. */
function setModes(root: string): void {
  for (const file of ['.', ...globSync('**', { cwd: root })].map((name) => join(root, name))) {
    chmodSync(file, (lstatSync(file).mode & OWNER_MAY_EXECUTE) === 0 ? 0o644 : 0o755)
  }
}

await main(resolve(process.argv[2] ?? join(ROOT, 'dist')))
